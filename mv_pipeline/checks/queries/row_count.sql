/*
# Of a view whose rows are no days; rows_per_day.sql is of the others.
description: The view has the rows that it must have, and is not empty.
message: "{rows} rows found, at least 1 expected."
remedy: "{refresh}"
*/
SELECT count(*) > 0 AS passed, count(*) AS rows
FROM {view}
