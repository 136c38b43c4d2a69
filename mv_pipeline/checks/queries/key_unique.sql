/*
description: ({key}) is unique and never NULL.
message: "{doubled} duplicate and {null} NULL keys found, 0 expected."
remedy: Correct the SELECT of {view} so that it gives one row for each ({key}), then run `mv-pipeline migrate`.
*/
SELECT doubled = 0 AND "null" = 0 AS passed, *
FROM (
    SELECT count(*) - count(DISTINCT ({key})) AS doubled, count(*) FILTER (WHERE num_nulls({key}) > 0) AS "null"
    FROM {view}
) AS keys
