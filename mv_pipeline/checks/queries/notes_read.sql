/*
severity: WARN
description: No change waits to be rolled up.
message: "{waiting} change log rows found waiting (the oldest: {oldest}), 0 expected."
remedy: Run `mv-pipeline refresh --csv-type {csv_type}`.
*/
SELECT
    count(*) = 0 AS passed,
    count(*) AS waiting,
    coalesce(to_char(min(noted_at), 'YYYY-MM-DD HH24:MI:SS'), 'none') AS oldest
FROM log.change_note
WHERE relation = ANY (%(tables)s)
