/*
severity: WARN
description: No change waits to be stored.
message: "{waiting} changes found waiting (the oldest: {oldest}), 0 expected."
remedy: Run `mv-pipeline refresh --all`; readers see the right rows meanwhile, computed live.
*/
SELECT
    count(*) = 0 AS passed,
    count(*) AS waiting,
    coalesce(to_char(min(noted_at), 'YYYY-MM-DD HH24:MI:SS'), 'none') AS oldest
FROM log.v_rollup_news
WHERE stored = %(stored)s
