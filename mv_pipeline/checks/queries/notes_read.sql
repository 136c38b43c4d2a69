/*
severity: WARN
description: No change waits to be stored for longer than {minutes} minutes.
message: "{waiting} changes found waiting (the oldest since: {oldest}), 0 expected for longer than {minutes} minutes."
remedy: Run `mv-pipeline refresh --all`; readers see the right rows meanwhile, computed live.
*/
-- What a transaction noted long ago and committed just now has waited since the update that couldn't see it.
WITH waiting AS (
    SELECT greatest(noted_at, updated_at) AS since FROM log.v_rollup_news JOIN log.rollup USING (stored)
    WHERE stored = %(stored)s
)
SELECT
    count(*) FILTER (WHERE since < clock_timestamp() - %(late)s) = 0 AS passed,
    count(*) AS waiting,
    coalesce(to_char(min(since), 'YYYY-MM-DD HH24:MI:SS'), 'none') AS oldest
FROM waiting
