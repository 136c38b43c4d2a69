/*
description: 日次の受入実績。昨日までの全暦日を1日1行で持ちます。
description_en: "Receive per day: one row for every calendar day up to yesterday."
owner: team:data-platform
key: [ddate]
indexes: [[iso_year, iso_week]]
criticality: critical
picture: receive_tons
days: until_yesterday
balance: {csv_type: receive, tons: receive_net_ton}
*/
SELECT
    c.ddate,
    c.y,
    c.m,
    c.iso_year,
    c.iso_week,
    c.iso_dow,
    c.is_business,
    c.is_holiday,
    c.day_type,
    coalesce(s.net_weight_kg / 1000, 0)::numeric(18, 3) AS receive_net_ton,
    coalesce(s.slip_count, 0)::integer AS receive_vehicle_count,
    (s.net_weight_kg / nullif(s.slip_count, 0))::numeric(18, 3) AS avg_weight_kg_per_vehicle,
    coalesce(s.amount_yen, 0)::numeric(18, 0) AS sales_yen,
    CASE WHEN s.net_weight_kg > 0 THEN s.amount_yen / s.net_weight_kg END::numeric(18, 3) AS unit_price_yen_per_kg,
    s.source AS source_system
FROM ref.v_calendar_classified AS c
LEFT JOIN mart.v_receive_source AS s ON s.ddate = c.ddate
WHERE c.ddate < ref.business_date()
