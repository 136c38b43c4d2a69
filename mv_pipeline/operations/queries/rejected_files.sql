-- The rejected files of whose name no newer one has come, and of whose kind none was loaded after the burst that it came in.
WITH uploads AS {uploads},
good AS (SELECT kind, max(uploaded_at) AS last FROM uploads WHERE processing_status = 'success' GROUP BY kind),
newest AS (
    SELECT DISTINCT ON (kind, file_name) * FROM uploads WHERE NOT is_deleted ORDER BY kind, file_name, id DESC
)
SELECT
    kind,
    file_name,
    file_hash,
    uploaded_at,
    coalesce(error_message, '') AS reason,
    coalesce(metadata->'codes', '{{}}') AS codes,
    metadata->>'report' AS report
FROM newest LEFT JOIN good USING (kind)
WHERE state = 'rejected' AND coalesce(last, '-infinity') <= uploaded_at + %s
ORDER BY id
