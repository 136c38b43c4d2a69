-- Soft-delete the earlier rows of an upload's days, and give the days that it leaves with far less than they had.
WITH after AS (
    SELECT slip_date, count(*) AS lines, coalesce(sum(net_weight), 0) AS kg
    FROM {stg} WHERE upload_file_id = %(upload_id)s GROUP BY slip_date
),
replaced AS (
    UPDATE {stg} SET is_deleted = true, deleted_at = now(), deleted_by = 'upload_file ' || %(upload_id)s
    WHERE slip_date = ANY (ARRAY(SELECT slip_date FROM after))
        AND NOT is_deleted AND upload_file_id IS DISTINCT FROM %(upload_id)s
    RETURNING slip_date, upload_file_id, net_weight
),
before AS (
    SELECT slip_date, max(upload_file_id) AS upload, count(*) AS lines, coalesce(sum(net_weight), 0) AS kg
    FROM replaced GROUP BY slip_date
)
SELECT jsonb_agg(
    jsonb_build_object(
        'day', slip_date,
        'earlier_upload', before.upload,
        'lines_before', before.lines,
        'lines', after.lines,
        'kg_before', before.kg,
        'kg', after.kg
    ) ORDER BY slip_date
)
FROM before JOIN after USING (slip_date)
-- Where more went out than came in, less kg may be more.
WHERE after.lines < before.lines * %(share)s OR (before.kg > 0 AND after.kg < before.kg * %(share)s)
