/*
# Two checks: of the rows, and of the sums.
name: "{name}"
description: "{equation}, for each of the newest uploads."
message: "{differences} differences between file, raw and stg found in the {uploads} newest uploads, 0 expected{wrong}."
remedy: Drop these files again into inbox/{kind}/, and ask who changed the tables by hand.
*/
WITH upload AS (
    SELECT id, metadata FROM {uploads}
    WHERE kind = %(kind)s AND processing_status = 'success' AND metadata ? 'lines'
    ORDER BY id DESC LIMIT 20
),
compared AS (
    SELECT id, what, file, raw, stg, file = raw AND raw = stg AS same FROM upload
    CROSS JOIN LATERAL (
        SELECT count(*)::numeric AS n, coalesce(sum(net_weight), 0) AS kg, coalesce(sum(amount), 0) AS yen
        FROM ({raw}) AS typed
    ) AS r
    CROSS JOIN LATERAL (
        SELECT count(*)::numeric AS n, coalesce(sum(net_weight), 0) AS kg, coalesce(sum(amount), 0) AS yen
        FROM {stg} WHERE upload_file_id = upload.id
    ) AS s
    CROSS JOIN LATERAL (VALUES
        ('rows', (metadata->>'lines')::numeric - (metadata->>'blank_lines')::numeric
            - (metadata->>'total_lines')::numeric, r.n, s.n),
        ('kg', (metadata->>'net_weight_kg')::numeric, r.kg, s.kg),
        ('yen', (metadata->>'amount_yen')::numeric, r.yen, s.yen)
    ) AS sums (what, file, raw, stg)
    WHERE what = ANY (%(what)s)
)
SELECT
    count(*) FILTER (WHERE same IS NOT TRUE) = 0 AS passed,
    count(*) FILTER (WHERE same IS NOT TRUE) AS differences,
    count(DISTINCT id) AS uploads,
    ARRAY(
        SELECT format('upload %%s: %%s file %%s, raw %%s, stg %%s', id, what, file, raw, stg)
        FROM compared WHERE same IS NOT TRUE ORDER BY id DESC, what
    ) AS wrong,
    ARRAY(SELECT what || ' ' || file FROM compared WHERE id = (SELECT max(id) FROM upload)) AS newest
FROM compared
