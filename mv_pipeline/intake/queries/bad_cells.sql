SELECT s.source_row_no, header, code, left(cell, {shown}), count(*) OVER ()
FROM (SELECT min(ddate) AS first, max(ddate) AS last FROM ref.calendar_day) AS calendar
JOIN {stg} AS s
    ON s.upload_file_id = {upload_id} AND (s.slip_date BETWEEN first AND last AND num_nulls({values}) = 0) IS NOT TRUE
-- Line by line by raw's index: nothing is known of new rows, so any other join may take quadratic time.
CROSS JOIN LATERAL (
    SELECT ARRAY[{cells}] AS cells, ARRAY[{codes}] AS codes
    FROM {raw} AS r WHERE upload_file_id = {upload_id} AND source_row_no = s.source_row_no OFFSET 0
) AS line
CROSS JOIN LATERAL unnest(%s::text[], line.cells, line.codes) AS judged (header, cell, code)
-- Most such lines turn out to be good, and to make rows of a line costs more than to judge it.
WHERE num_nonnulls(VARIADIC line.codes) > 0 AND code IS NOT NULL
ORDER BY s.source_row_no, header COLLATE "C"
LIMIT {limit}
