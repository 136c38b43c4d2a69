/*
description: 月次の受入実績。
description_en: Receive per month.
owner: team:data-platform
*/
SELECT
    y,
    m,
    min(ddate) AS month_start,
    max(ddate) AS month_end,
    sum(receive_net_ton) AS receive_net_ton,
    sum(receive_vehicle_count) AS receive_vehicle_count,
    sum(sales_yen) AS sales_yen,
    count(*) FILTER (WHERE is_business) AS business_days,
    count(*) AS total_days
FROM mart.mv_receive_daily
GROUP BY y, m
