/*
description: 受入KPI（日次）：実績・目標・達成率、月累計、前年同週同曜日。
description_en: "Inbound KPI per day: actual, target and rate, month to date, and the same ISO week and weekday a year before."
owner: team:data-platform
key: [ddate]
criticality: optional
days: until_yesterday
checks:
  actual_as_received:
    description: the actual tons are those of mv_receive_daily.
    sql: |
      SELECT k.ddate, k.actual_ton, d.receive_net_ton
      FROM mart.mv_inbound_kpi_daily AS k
      JOIN mart.mv_receive_daily AS d ON d.ddate = k.ddate
      WHERE k.actual_ton IS DISTINCT FROM d.receive_net_ton
*/
WITH days AS (
    SELECT
        d.ddate,
        d.y,
        d.m,
        d.iso_year,
        d.iso_week,
        d.iso_dow,
        d.receive_net_ton AS actual_ton,
        coalesce(t.target_ton, 0)::numeric(18, 3) AS target_ton
    FROM mart.mv_receive_daily AS d
    INNER JOIN mart.v_daily_target_with_calendar AS t ON t.ddate = d.ddate
),
to_date_sums AS (
    SELECT
        *,
        sum(actual_ton) OVER month_to_date AS mtd_actual_ton,
        sum(target_ton) OVER month_to_date AS mtd_target_ton
    FROM days
    WINDOW month_to_date AS (PARTITION BY y, m ORDER BY ddate)
)
SELECT
    k.ddate,
    k.actual_ton,
    k.target_ton,
    CASE WHEN k.target_ton > 0 THEN k.actual_ton / k.target_ton END::numeric(14, 4) AS achievement_rate,
    k.mtd_actual_ton::numeric(18, 3) AS mtd_actual_ton,
    k.mtd_target_ton::numeric(18, 3) AS mtd_target_ton,
    CASE WHEN k.mtd_target_ton > 0 THEN k.mtd_actual_ton / k.mtd_target_ton END::numeric(14, 4) AS mtd_achievement_rate,
    p.ddate AS prev_year_ddate,
    p.actual_ton AS prev_year_actual_ton
FROM to_date_sums AS k
LEFT JOIN days AS p ON p.iso_year = k.iso_year - 1 AND p.iso_week = k.iso_week AND p.iso_dow = k.iso_dow
