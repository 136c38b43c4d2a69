/*
description: 週・品目別の集計（試験用）。
description_en: Final receive per ISO week and item, over the rollup of items, for tests.
owner: team:data-platform
key: [item, monday]
day: monday
*/
WITH weeks AS (
    SELECT date_trunc('week', ddate)::date AS monday, item, line_count, kg FROM mart.rollup_item
)

SELECT
    item,
    monday,
    sum(line_count)::bigint AS line_count,
    sum(kg) AS kg
FROM weeks
GROUP BY monday, item
