/*
description: ISO週別の通常日と予約日の平均受入トン（直近5年）。
description_en: Mean tons of normal and of reservation days per ISO week over five years.
owner: team:data-platform
key: [iso_week]
criticality: critical
picture: week_profile
*/
WITH normal AS (
    SELECT
        iso_week,
        avg(receive_net_ton) FILTER (WHERE day_type = 'NORMAL') AS mean,
        max(changed_at) AS updated_at
    FROM mart.v_inb5y_days
    WHERE is_business
    GROUP BY iso_week
),
ratios AS (
    SELECT
        d.iso_week,
        d.receive_net_ton / nullif(n.mean, 0) AS ratio,
        n.updated_at
    FROM mart.v_inb5y_days AS d
    INNER JOIN normal AS n ON n.iso_week = d.iso_week
    WHERE d.is_business AND d.day_type = 'RESERVATION'
),
factors AS (
    SELECT
        iso_week,
        CASE WHEN count(ratio) >= 3 THEN avg(ratio) END AS factor
    FROM ratios
    GROUP BY iso_week
),
all_weeks AS (
    SELECT
        avg(ratio) AS factor,
        max(updated_at) AS updated_at
    FROM ratios
)
SELECT
    n.iso_week,
    n.mean::numeric(14, 4) AS normal_day_mean,
    (n.mean * coalesce(f.factor, a.factor, 0.50))::numeric(14, 4) AS reservation_day_mean,
    CASE WHEN f.factor IS NULL THEN greatest(n.updated_at, a.updated_at) ELSE n.updated_at END AS updated_at
FROM normal AS n
CROSS JOIN all_weeks AS a
LEFT JOIN factors AS f ON f.iso_week = n.iso_week
WHERE n.mean IS NOT NULL
