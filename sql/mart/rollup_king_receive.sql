/*
description: king の受入実績の日別集計（1日1行、丸めなし）。
description_en: The king lines that count per day, unrounded.
owner: team:data-platform
key: [ddate]
day: ddate
source_of: {csv_type: receive, source: king, priority: 3}
*/
SELECT
    invoice_d AS ddate,
    count(*) AS line_count,
    count(DISTINCT invoice_no) AS slip_count,
    coalesce(sum(net_weight_detail), 0)::numeric AS net_weight_kg,
    coalesce(sum(amount), 0)::numeric AS amount_yen
FROM stg.v_king_receive_clean
GROUP BY invoice_d
