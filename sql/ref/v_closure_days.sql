/*
description: 会社休業日（休業期間を1日ずつに展開）。
description_en: Company shutdowns spelled out, one row per shutdown and day.
owner: team:data-platform
*/
SELECT
    days.ddate::date AS ddate,
    p.closure_name
FROM ref.closure_periods AS p
CROSS JOIN LATERAL generate_series(p.start_date::timestamp, p.end_date::timestamp, interval '1 day') AS days (ddate)
