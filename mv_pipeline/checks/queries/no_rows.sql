/*
# A check that a view's own header states.
name: "{name}"
description: "{description}"
message: "{rows} offending rows found, 0 expected{offending}."
remedy: "{refresh}"
*/
SELECT count(*) = 0 AS passed, count(*) AS rows, coalesce(array_agg(wrong::text), ARRAY[]::text[]) AS offending
FROM ({query}) AS wrong
