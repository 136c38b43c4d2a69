/*
description: No change upstream and no new business date waits for longer than {minutes} minutes.
message: >-
  {changes} changes found since the last refresh at {last_refresh} (Asia/Tokyo), 0 expected that wait for longer than
  {minutes} minutes{news}.
remedy: "{refresh}"
*/
SELECT
    -- What nobody knows the age of has waited too long.
    (NOT stale OR waiting_since > clock_timestamp() - %(late)s) IS TRUE AS passed,
    coalesce(to_char(refreshed_at, 'YYYY-MM-DD HH24:MI:SS'), 'no time') AS last_refresh,
    coalesce(seconds, 0) AS seconds,
    cardinality(news) AS changes,
    news
FROM (VALUES (%(view)s)) AS asked (relation)
LEFT JOIN log.v_view_status AS status USING (relation)
CROSS JOIN LATERAL coalesce({reasons}, ARRAY[]::text[]) AS news
