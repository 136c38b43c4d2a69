/*
description: 日次の受入実績（ダッシュボード用）。
description_en: Receive per day, for the dashboards.
owner: team:data-platform
*/
SELECT
    ddate,
    y,
    m,
    iso_year,
    iso_week,
    iso_dow,
    is_business,
    is_holiday,
    day_type,
    receive_net_ton,
    receive_vehicle_count,
    avg_weight_kg_per_vehicle,
    sales_yen,
    unit_price_yen_per_kg,
    source_system
FROM mart.mv_receive_daily
