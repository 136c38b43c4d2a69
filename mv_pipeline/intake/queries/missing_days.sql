WITH lines AS (SELECT DISTINCT csv_type, ddate FROM mart.v_source_days),
used AS (
    SELECT csv_type, min(ddate) AS first, max(ddate) FILTER (WHERE ddate <= ref.business_date()) AS newest
    FROM lines GROUP BY csv_type
),
business AS (
    SELECT ddate FROM ref.v_calendar_classified WHERE is_business AND ddate BETWEEN %(since)s AND %(due)s
)
SELECT csv_type, array_remove(array_agg(ddate ORDER BY ddate), NULL)
FROM used
LEFT JOIN business
    ON ddate > CASE WHEN csv_type = ANY (%(daily)s) THEN first ELSE newest END
    AND (csv_type, ddate) NOT IN (SELECT csv_type, ddate FROM lines)
GROUP BY csv_type
