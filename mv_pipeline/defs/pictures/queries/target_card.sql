SELECT
    t.ddate,
    t.day_target_ton::float AS target,
    coalesce(n.day_actual_ton_prev, 0)::float AS actual,
    t.month_target_ton::float AS month_target
FROM mart.mv_target_card_per_day AS t
LEFT JOIN mart.mv_target_card_per_day AS n ON n.ddate = t.ddate + 1
WHERE t.ddate BETWEEN ref.business_date() - 60 AND ref.business_date() - 1
ORDER BY t.ddate
