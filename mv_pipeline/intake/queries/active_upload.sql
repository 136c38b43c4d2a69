-- The newest upload of the same content whose rows are all still active and as they were loaded.
SELECT max(id)
FROM {uploads} AS u
WHERE file_hash = %(sha256)s AND kind = %(kind)s AND processing_status = 'success' AND NOT is_deleted
    AND ROW (
        row_count::bigint,
        (metadata->>'net_weight_kg')::numeric,
        (metadata->>'amount_yen')::numeric,
        (metadata->>'first_day')::date,
        (metadata->>'last_day')::date
    ) IS NOT DISTINCT FROM (
        SELECT ROW (
            count(*), coalesce(sum(net_weight), 0), coalesce(sum(amount), 0), min(slip_date), max(slip_date)
        )
        FROM {stg} WHERE upload_file_id = u.id AND NOT is_deleted
    )
