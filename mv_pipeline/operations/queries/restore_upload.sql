-- Copy an upload's raw lines as those of a new upload, and type them anew; no row if there are none.
WITH earlier AS (
    SELECT nextval(pg_get_serial_sequence('log.upload_file', 'id'))::integer AS new_id, *
    FROM log.upload_file WHERE id = %(upload_id)s
),
cells AS (
    INSERT INTO {raw} ({columns}, upload_file_id, source_row_no)
    SELECT {columns}, (SELECT new_id FROM earlier), source_row_no
    FROM {raw}
    WHERE upload_file_id = %(upload_id)s
        AND (cardinality(%(days)s::date[]) = 0 OR {slip_date} = ANY (%(days)s::date[]))
    RETURNING *
),
lines AS (
    INSERT INTO {stg} ({columns}, upload_file_id, source_row_no) {typed}
    RETURNING slip_date, net_weight, amount
),
sums AS (
    SELECT
        count(*) AS lines,
        coalesce(sum(net_weight), 0) AS kg,
        coalesce(sum(amount), 0) AS yen,
        min(slip_date) AS first_day,
        max(slip_date) AS last_day
    FROM lines
)
INSERT INTO log.upload_file (
    id, file_name, file_hash, file_type, csv_type, file_size_bytes, row_count, uploaded_by, processing_status, metadata
)
SELECT
    new_id,
    file_name,
    -- The lines may be a part of the file's: dropped again, it is no file that is there already.
    'restored from upload ' || id,
    file_type,
    csv_type,
    file_size_bytes,
    lines,
    'restore',
    'success',
    jsonb_build_object(
        'restored_from', id,
        'lines', lines,
        'blank_lines', 0,
        'total_lines', 0,
        'net_weight_kg', kg::text,
        'amount_yen', yen::text,
        'first_day', first_day,
        'last_day', last_day
    )
FROM earlier CROSS JOIN sums
WHERE lines > 0
RETURNING id
