/*
description: ISO週・曜日別の受入トン平均（直近5年、営業日）。
description_en: Mean tons per ISO week and weekday over five years of business days.
owner: team:data-platform
key: [iso_week, iso_dow]
criticality: critical
anomaly: {days: mart.v_inb5y_days, tons: receive_net_ton, where: is_biz AND changed_at IS NOT NULL}
*/
WITH profile AS (
    SELECT
        iso_week,
        iso_dow,
        avg(receive_net_ton) AS mean,
        stddev_samp(receive_net_ton) AS sd,
        count(*) AS n,
        max(changed_at) AS updated_at
    FROM mart.v_inb5y_days
    WHERE is_biz
    GROUP BY iso_week, iso_dow
)
SELECT
    iso_week,
    iso_dow,
    mean::numeric(14, 4) AS ave,
    sd::numeric(14, 4) AS sigma,
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
