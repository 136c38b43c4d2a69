SELECT
    p.iso_week,
    p.normal_day_mean::float AS normal,
    p.reservation_day_mean::float AS reservation,
    greatest(p.normal_day_mean - coalesce(d.sigma, 0), 0)::float AS low,
    (p.normal_day_mean + coalesce(d.sigma, 0))::float AS high,
    d.this_year::float
FROM mart.mv_inb5y_week_profile_min AS p
LEFT JOIN (
    SELECT
        iso_week,
        stddev_samp(receive_net_ton) AS sigma,
        avg(receive_net_ton)
            FILTER (WHERE changed_at IS NOT NULL AND iso_year = extract(isoyear FROM ref.business_date())) AS this_year
    FROM mart.v_inb5y_days
    WHERE is_business AND day_type = 'NORMAL'
    GROUP BY iso_week
) AS d USING (iso_week)
ORDER BY p.iso_week
