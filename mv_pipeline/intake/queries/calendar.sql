WITH active AS (
    SELECT
        kind,
        slip_date AS ddate,
        array_agg(DISTINCT upload_file_id) FILTER (WHERE upload_file_id IS NOT NULL) AS uploads,
        count(*) AS lines,
        coalesce(sum(net_weight), 0) AS kg
    FROM ({active_lines}) AS active_lines
    WHERE slip_date BETWEEN %(first)s AND %(last)s
    GROUP BY kind, slip_date
),
kinds AS (
    SELECT * FROM unnest(%(kinds)s::text[], %(csv_types)s::text[]) WITH ORDINALITY AS kinds (kind, csv_type, position)
),
covered AS (
    SELECT DISTINCT csv_type, ddate FROM mart.v_source_days
)
SELECT
    c.ddate,
    c.day_type,
    c.is_business,
    k.kind,
    CASE
        WHEN a.lines > 0 THEN 'loaded'
        WHEN (k.csv_type, c.ddate) IN (SELECT csv_type, ddate FROM covered) THEN 'covered'
        WHEN NOT c.is_business THEN 'closed'
        WHEN %(missing)s::jsonb->k.csv_type ? c.ddate::text THEN 'missing'
        WHEN c.ddate > %(due)s THEN 'awaited'
        ELSE 'none'
    END AS status,
    coalesce(a.uploads, '{{}}') AS uploads,
    coalesce(a.lines, 0) AS lines,
    coalesce(a.kg, 0) AS net_weight_kg
FROM ref.v_calendar_classified AS c
CROSS JOIN kinds AS k
LEFT JOIN active AS a ON a.kind = k.kind AND a.ddate = c.ddate
WHERE c.ddate BETWEEN %(first)s AND %(last)s
ORDER BY c.ddate, k.position
