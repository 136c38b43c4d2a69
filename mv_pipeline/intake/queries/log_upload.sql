-- In each place of the inbox lies one file at most: the one that was logged last. Who empties log.upload_file may begin its
-- numbers anew.
WITH logged AS (
    INSERT INTO log.upload_file ({columns}) VALUES ({values}) RETURNING id
),
earlier AS (
    DELETE FROM log.taken_file
    WHERE path IS NULL AND kind = %(kind)s AND inbox_name = %(inbox_name)s AND upload_file_id NOT IN (TABLE logged)
)
INSERT INTO log.taken_file (upload_file_id, kind, inbox_name)
SELECT id, %(kind)s, %(inbox_name)s FROM logged
ON CONFLICT (upload_file_id) DO UPDATE
SET kind = excluded.kind, inbox_name = excluded.inbox_name, path = NULL, has_changed = false, stamp = NULL, compared_at = NULL
RETURNING upload_file_id
