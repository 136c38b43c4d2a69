/*
description: 日次の出荷実績。昨日までの全暦日を1日1行で持ちます。
description_en: "Shipment per day: one row for every calendar day up to yesterday."
owner: team:data-platform
key: [ddate]
criticality: optional
days: until_yesterday
balance: {csv_type: shipment, tons: net_ton}
*/
SELECT
    c.ddate,
    coalesce(s.line_count, 0)::integer AS line_count,
    coalesce(s.slip_count, 0)::integer AS slip_count,
    coalesce(s.net_weight_kg / 1000, 0)::numeric(18, 3) AS net_ton,
    coalesce(s.amount_yen, 0)::numeric(18, 0) AS amount_yen,
    s.source AS source_system
FROM ref.calendar_day AS c
LEFT JOIN mart.v_shipment_source AS s ON s.ddate = c.ddate
WHERE c.ddate < ref.business_date()
