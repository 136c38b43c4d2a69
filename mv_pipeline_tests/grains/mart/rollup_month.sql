/*
description: 月別の集計（試験用）。
description_en: Final receive per month, over the rollup of days, for tests.
owner: team:data-platform
key: [month_date]
day: month_date
*/
SELECT
    date_trunc('month', ddate)::date AS month_date,
    count(*) AS days,
    sum(line_count)::bigint AS line_count,
    sum(net_weight_kg) AS kg
FROM mart.rollup_shogun_final_receive
GROUP BY date_trunc('month', ddate)::date
