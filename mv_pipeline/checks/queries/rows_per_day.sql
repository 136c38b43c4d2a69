/*
name: row_count
description: The view has the rows that it must have, and is not empty.
message: "{rows} rows found, {expected} expected: one per calendar day{wrong_days}."
remedy: "{refresh}"
*/
WITH found AS (SELECT {day} AS ddate, count(*) AS rows FROM {view} GROUP BY 1),
compared AS (
    SELECT ddate, coalesce(rows, 0) AS rows, wanted, wanted IS TRUE AND rows IS NOT DISTINCT FROM 1 AS same
    FROM found FULL JOIN ({days}) AS days USING (ddate)
)
SELECT
    bool_and(same) AS passed,
    sum(rows)::bigint AS rows,
    count(wanted) AS expected,
    ARRAY(SELECT coalesce(ddate::text, 'no day') || ': ' || rows FROM compared WHERE NOT same ORDER BY ddate)
    AS wrong_days
FROM compared
