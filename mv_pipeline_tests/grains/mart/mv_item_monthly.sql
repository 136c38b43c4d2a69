/*
description: 品目別の月次（試験用）。
description_en: Per month and item, over two rollups, for tests.
owner: team:data-platform
key: [month_date, item]
criticality: optional
*/
SELECT
    m.month_date,
    i.item,
    sum(i.kg) AS kg,
    max(i.changed_at) AS updated_at,
    max(m.days) AS days
FROM mart.rollup_item AS i
INNER JOIN mart.rollup_month AS m ON m.month_date = date_trunc('month', i.ddate)::date
GROUP BY m.month_date, i.item
