/*
description: 品目別の日別集計（試験用）。
description_en: Final receive per day and item, for tests.
owner: team:data-platform
key: [ddate, item]
day: ddate
*/
SELECT
    slip_date AS ddate,
    coalesce(item_cd, -1) AS item,
    count(*) AS line_count,
    sum(net_weight) AS kg,
    max(client_name) AS last_client
FROM stg.v_active_shogun_final_receive
GROUP BY slip_date, coalesce(item_cd, -1)
