/*
description: 種別・日ごとに採用するデータ源（最終→速報→king の順で1つ）。
description_en: "Per list and day the one source that counts: final, else flash, else king."
owner: team:data-platform
*/
SELECT DISTINCT ON (csv_type, ddate)
    csv_type,
    ddate,
    source,
    line_count,
    slip_count,
    net_weight_kg,
    amount_yen,
    changed_at
FROM mart.rollup_daily
ORDER BY csv_type, ddate, priority
