/*
description: ISO週別の受入トン合計の平均（直近5年、営業日）。
description_en: Mean of the weekly sums of tons per ISO week over five years of business days.
owner: team:data-platform
key: [iso_week, iso_dow]
criticality: critical
*/
WITH weeks AS (
    SELECT
        iso_year,
        iso_week,
        sum(receive_net_ton) AS tons,
        max(changed_at) AS changed_at
    FROM mart.v_inb5y_days
    WHERE is_biz
    GROUP BY iso_year, iso_week
),
profile AS (
    SELECT
        iso_week,
        avg(tons) AS mean,
        stddev_samp(tons) AS sd,
        count(*) AS n,
        max(changed_at) AS updated_at
    FROM weeks
    GROUP BY iso_week
)
SELECT
    iso_week,
    0 AS iso_dow,
    mean::numeric(14, 2) AS ave,
    sd::numeric(14, 2) AS sigma,
    n,
    CASE WHEN mean > 0 THEN sd / mean END::numeric(14, 4) AS cv,
    CASE
        WHEN n < 3 THEN 'LOW_SAMPLE'
        WHEN mean <= 1 THEN 'LOW_MEAN'
        WHEN sd / mean > 0.60 THEN 'HIGH_VARIANCE'
        ELSE 'OK'
    END AS quality,
    updated_at
FROM profile
