/*
description: ISO週・曜日別の受入トン平均（直近5年、全日と営業日）。
description_en: Mean tons per ISO week and weekday over five years, for all days and for business days.
owner: team:data-platform
key: [scope, iso_week, iso_dow]
criticality: critical
checks:
  same_as_day_biz:
    description: scope 'biz' holds the same means and deviations as mv_inb_avg5y_day_biz.
    sql: |
      SELECT coalesce(s.iso_week, b.iso_week) AS iso_week, coalesce(s.iso_dow, b.iso_dow) AS iso_dow
      FROM (SELECT * FROM mart.mv_inb_avg5y_day_scope WHERE scope = 'biz') AS s
      FULL JOIN mart.mv_inb_avg5y_day_biz AS b ON b.iso_week = s.iso_week AND b.iso_dow = s.iso_dow
      WHERE (s.ave, s.sigma, s.n) IS DISTINCT FROM (b.ave, b.sigma, b.n)
*/
WITH scopes (scope, include_holiday, include_sunday) AS (
    VALUES ('all', true, true), ('biz', false, false)
),
profile AS (
    SELECT
        s.scope,
        s.include_holiday,
        s.include_sunday,
        d.iso_week,
        d.iso_dow,
        avg(d.receive_net_ton) AS mean,
        stddev_samp(d.receive_net_ton) AS sd,
        count(*) AS n,
        max(d.changed_at) AS updated_at
    FROM mart.v_inb5y_days AS d
    INNER JOIN scopes AS s ON s.scope = 'all' OR d.is_biz
    GROUP BY s.scope, s.include_holiday, s.include_sunday, d.iso_week, d.iso_dow
)
SELECT
    scope,
    iso_week,
    iso_dow,
    mean::numeric(14, 4) AS ave,
    sd::numeric(14, 4) AS sigma,
    n,
    (sd / nullif(mean, 0))::numeric(14, 4) AS cv,
    jsonb_build_object(
        'window_years', 5,
        'include_holiday', include_holiday,
        'include_sunday', include_sunday,
        'y_filter', 'is not null'
    ) AS criteria,
    updated_at
FROM profile
