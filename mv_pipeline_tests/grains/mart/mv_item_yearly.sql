/*
description: 品目別の年次（試験用）。
description_en: Per year and item, over a materialized view, for tests.
owner: team:data-platform
key: [year, item]
criticality: optional
*/
SELECT
    extract(year FROM month_date)::integer AS year,
    item,
    sum(kg) AS kg
FROM mart.mv_item_monthly
GROUP BY extract(year FROM month_date)::integer, item
