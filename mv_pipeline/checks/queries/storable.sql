/*
description: What has changed could be stored at the last try.
message: "{failures} failures found since changes were last stored, 0 expected{said}."
remedy: Correct what that says; readers see the right rows meanwhile, computed live.
*/
SELECT
    count(f.id) = 0 AS passed,
    count(f.id) AS failures,
    coalesce(': ' || rtrim(split_part((array_agg(f.error ORDER BY f.id DESC))[1], E'\n', 1), '.'), '') AS said
FROM log.rollup AS r
LEFT JOIN log.refresh_failure AS f
    ON f.relation = r.relation
    AND f.failed_at > r.updated_at
    -- Once nothing waits any more, a later run has stored it, or somebody has taken it back.
    AND EXISTS (SELECT FROM log.v_rollup_news AS n WHERE n.stored = r.stored)
WHERE r.stored = %(stored)s
