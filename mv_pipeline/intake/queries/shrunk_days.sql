-- The days that uploads of a kind have left with far less than they had, where these still count and nobody has
-- confirmed them.
(
    SELECT u.id AS upload, u.file_name, u.uploaded_at, d.*
    FROM {uploads} AS u
    CROSS JOIN LATERAL jsonb_to_recordset(u.metadata->'shrunk') AS d (
        day date, earlier_upload integer, lines_before bigint, lines bigint, kg_before numeric, kg numeric
    )
    WHERE u.kind = {kind} AND u.processing_status = 'success' AND NOT u.is_deleted
        AND u.metadata ? 'shrunk' AND NOT u.metadata ? 'confirmed_at'
        AND EXISTS (SELECT FROM {stg} WHERE slip_date = d.day AND upload_file_id = u.id AND NOT is_deleted)
)
