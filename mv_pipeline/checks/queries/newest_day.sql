/*
description: The newest day is the one it must be.
message: "{newest_day} found as the newest day, {expected} expected."
remedy: "{refresh}"
*/
SELECT newest IS NOT DISTINCT FROM expected AS passed, coalesce(newest::text, 'No day') AS newest_day, expected
FROM (SELECT max({day}) AS newest FROM {view}) AS view, (SELECT max(ddate) AS expected FROM ({days}) AS d) AS days
