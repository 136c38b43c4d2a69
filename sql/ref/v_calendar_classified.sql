/*
description: 全暦日と営業区分（NORMAL・RESERVATION・CLOSED）。
description_en: Every calendar day with its day type and whether it is a business day.
owner: team:data-platform
*/
WITH marked AS (
    SELECT
        c.ddate,
        c.y,
        c.m,
        c.iso_year,
        c.iso_week,
        c.iso_dow,
        h.hdate IS NOT NULL AS is_holiday,
        c.iso_dow = 7 AND extract(day FROM c.ddate) BETWEEN 8 AND 14 AS is_second_sunday,
        d.ddate IS NOT NULL AS is_company_closed,
        e.override_type
    FROM ref.calendar_day AS c
    LEFT JOIN ref.holiday_jp AS h ON h.hdate = c.ddate
    LEFT JOIN (SELECT DISTINCT ddate FROM ref.v_closure_days) AS d ON d.ddate = c.ddate
    LEFT JOIN ref.calendar_exception AS e ON e.ddate = c.ddate
),
classified AS (
    SELECT
        *,
        CASE
            WHEN override_type = 'FORCE_CLOSED' THEN 'CLOSED'
            WHEN override_type = 'FORCE_OPEN' THEN 'NORMAL'
            WHEN override_type = 'FORCE_RESERVATION' THEN 'RESERVATION'
            WHEN is_company_closed OR is_second_sunday THEN 'CLOSED'
            WHEN iso_dow = 7 OR is_holiday THEN 'RESERVATION'
            ELSE 'NORMAL'
        END AS day_type
    FROM marked
)
SELECT
    ddate,
    y,
    m,
    iso_year,
    iso_week,
    iso_dow,
    is_holiday,
    is_second_sunday,
    is_company_closed,
    day_type,
    day_type <> 'CLOSED' AS is_business
FROM classified
