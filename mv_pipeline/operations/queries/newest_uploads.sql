SELECT
    id,
    to_char(uploaded_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD"T"HH24:MI:SS+09:00') AS uploaded_at,
    kind,
    file_name,
    state,
    coalesce(row_count, 0) AS lines,
    (metadata->>'net_weight_kg')::float AS net_weight_kg,
    metadata->>'first_day' AS first_day,
    metadata->>'last_day' AS last_day,
    uploaded_by,
    coalesce(
        error_message,
        'the same content is active as upload ' || (metadata->>'duplicate_of'),
        'restored from upload ' || (metadata->>'restored_from'),
        nullif(metadata->>'short_lines', '0') || ' lines end early, and were read as if their last cells were empty'
    ) AS reason
FROM {uploads}
WHERE id > %(after)s AND (kind = %(kind)s) IS NOT FALSE AND (NOT %(rejected)s OR state = 'rejected')
ORDER BY id DESC LIMIT %(limit)s
