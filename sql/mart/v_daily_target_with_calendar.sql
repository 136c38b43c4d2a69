/*
description: 暦と日別計画。同じ日に複数の計画があれば最新の created_at を採用します。
description_en: The calendar with the plan of each day; where a day has several rows, the latest created_at wins.
owner: team:data-platform
*/
WITH plan AS (
    SELECT DISTINCT ON (ddate::date)
        ddate::date AS ddate,
        target_ton,
        scope_used,
        created_at
    FROM mart.daily_target_plan
    ORDER BY ddate::date, created_at DESC NULLS LAST, scope_used, target_ton
)
SELECT
    c.ddate,
    c.iso_year,
    c.iso_week,
    c.iso_dow,
    c.day_type,
    c.is_business,
    p.target_ton,
    p.scope_used,
    p.created_at
FROM ref.v_calendar_classified AS c
LEFT JOIN plan AS p ON p.ddate = c.ddate
