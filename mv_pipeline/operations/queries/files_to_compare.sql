-- Of the last day all files, of the others those that were not compared this night; first those that never were.
SELECT
    upload_file_id,
    t.kind,
    inbox_name,
    path,
    stamp,
    compared_at >= current_date AS is_done,
    uploaded_at > now() - interval '1 minute' AS is_new,
    file_hash,
    file_size_bytes,
    metadata->>'report' AS report
FROM log.taken_file AS t
LEFT JOIN log.upload_file AS u ON u.id = upload_file_id
WHERE compared_at IS NULL OR compared_at < current_date OR uploaded_at > now() - interval '1 day'
ORDER BY compared_at NULLS FIRST, upload_file_id
LIMIT 2000
