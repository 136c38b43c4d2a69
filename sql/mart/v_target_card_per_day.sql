/*
description: 目標カード（その場で計算）。mv_target_card_per_day と同じ列です。
description_en: The target card computed live; the same columns as mv_target_card_per_day.
owner: team:data-platform
*/
WITH month_target AS (
    SELECT DISTINCT ON (date_trunc('month', month_date))
        extract(year FROM month_date)::integer AS y,
        extract(month FROM month_date)::integer AS m,
        value
    FROM kpi.monthly_targets
    WHERE metric = 'inbound' AND segment = 'factory'
    ORDER BY date_trunc('month', month_date), updated_at DESC, value
)
SELECT
    t.ddate,
    coalesce(t.target_ton, 0)::numeric AS day_target_ton,
    sum(coalesce(t.target_ton, 0)::numeric) OVER iso_week AS week_target_ton,
    mt.value::numeric AS month_target_ton,
    coalesce(yesterday.receive_net_ton, 0)::numeric AS day_actual_ton_prev,
    coalesce(sum(today.receive_net_ton) OVER iso_week, 0) AS week_actual_ton,
    coalesce(sum(today.receive_net_ton) OVER (PARTITION BY c.y, c.m), 0) AS month_actual_ton,
    t.iso_year,
    t.iso_week,
    t.iso_dow,
    t.day_type,
    t.is_business
FROM mart.v_daily_target_with_calendar AS t
INNER JOIN ref.calendar_day AS c ON c.ddate = t.ddate
LEFT JOIN month_target AS mt ON mt.y = c.y AND mt.m = c.m
LEFT JOIN mart.mv_receive_daily AS today ON today.ddate = t.ddate
LEFT JOIN mart.mv_receive_daily AS yesterday ON yesterday.ddate = t.ddate - 1
WINDOW iso_week AS (PARTITION BY t.iso_year, t.iso_week)
