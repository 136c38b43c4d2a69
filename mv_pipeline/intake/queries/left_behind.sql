-- The upload of what lies in a place of the inbox: a file of this content that could not be moved, whatever happened to its
-- attributes; or one that was put back because somebody had written on.
SELECT
    id,
    file_name,
    CASE processing_status WHEN 'failed' THEN 'rejected' ELSE 'duplicate' END AS status,
    coalesce(error_message, '') AS message,
    is_same
FROM log.taken_file
JOIN log.upload_file ON id = upload_file_id
CROSS JOIN LATERAL (SELECT file_hash = %(sha256)s AND file_size_bytes = %(size)s AS is_same) AS content
WHERE path IS NULL AND kind = %(kind)s AND inbox_name = %(inbox_name)s AND (is_same OR has_changed)
ORDER BY has_changed DESC, id DESC LIMIT 1
