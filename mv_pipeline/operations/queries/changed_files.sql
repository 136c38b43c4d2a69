-- The uploads of the last day that replace what their file held when it was loaded for the first time.
SELECT
    u.kind,
    u.file_name,
    u.file_hash,
    u.uploaded_at,
    before.row_count AS lines_before,
    u.row_count AS lines,
    before.metadata->>'net_weight_kg' AS kg_before,
    u.metadata->>'net_weight_kg' AS kg
FROM {uploads} AS u
JOIN {uploads} AS before ON before.id = (u.metadata->>'replaces')::integer
WHERE u.state = 'loaded' AND before.processing_status = 'success' AND u.uploaded_at > now() - interval '1 day'
ORDER BY u.id
