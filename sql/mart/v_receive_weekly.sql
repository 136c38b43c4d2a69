/*
description: 週次（ISO週）の受入実績。
description_en: Receive per ISO week.
owner: team:data-platform
*/
SELECT
    iso_year,
    iso_week,
    min(ddate) AS week_start,
    max(ddate) AS week_end,
    sum(receive_net_ton) AS receive_net_ton,
    sum(receive_vehicle_count) AS receive_vehicle_count,
    sum(sales_yen) AS sales_yen,
    count(*) FILTER (WHERE is_business) AS business_days,
    count(*) AS total_days
FROM mart.mv_receive_daily
GROUP BY iso_year, iso_week
