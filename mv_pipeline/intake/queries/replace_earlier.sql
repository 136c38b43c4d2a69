-- Of a file that was written on after it was loaded: what it held on other days goes. Gives the newest upload that has come
-- since for one of its days; then it is rejected, as late lines must not replace a newer file's.
WITH replaced AS (
    UPDATE {stg} SET is_deleted = true, deleted_at = now(), deleted_by = 'upload_file ' || %(id)s
    WHERE upload_file_id = %(earlier)s AND NOT is_deleted AND slip_date <> ALL (%(days)s)
)
SELECT max(upload_file_id) FROM {stg}
WHERE slip_date = ANY (%(days)s) AND NOT is_deleted AND upload_file_id > %(earlier)s AND upload_file_id < %(id)s
