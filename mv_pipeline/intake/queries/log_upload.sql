-- In each place of the inbox lies one file at most: the one that was logged last.
WITH logged AS (
    INSERT INTO log.upload_file ({columns}) VALUES ({values}) RETURNING id
),
earlier AS (
    DELETE FROM log.taken_file WHERE path IS NULL AND kind = %(kind)s AND inbox_name = %(inbox_name)s
)
INSERT INTO log.taken_file (upload_file_id, kind, inbox_name)
SELECT id, %(kind)s, %(inbox_name)s FROM logged RETURNING upload_file_id
