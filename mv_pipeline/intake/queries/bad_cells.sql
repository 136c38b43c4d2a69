-- One join of the lines that may hold a bad cell with their cells. `load_file` forbids nested loops: nothing is known of
-- rows that this transaction has inserted, and whoever takes them for few loops over all of them for each of them.
WITH calendar AS MATERIALIZED (SELECT min(ddate) AS first, max(ddate) AS last FROM ref.calendar_day)
SELECT source_row_no, header, code, left(cell, {shown}), count(*) OVER ()
FROM (
    SELECT source_row_no, unnest(%s::text[]) AS header, unnest(cells) AS cell, unnest(codes) AS code
    FROM (
        SELECT source_row_no, ARRAY[{cells}, r.slip_date] AS cells, ARRAY[{codes}, CASE
            WHEN {slip_date} IS NULL THEN 'missing_date'
            WHEN s.slip_date NOT BETWEEN (SELECT first FROM calendar) AND (SELECT last FROM calendar)
                THEN 'date_out_of_range'
        END] AS codes
        FROM {stg} AS s JOIN {raw} AS r USING (upload_file_id, source_row_no)
        WHERE upload_file_id = {upload_id} AND (
            s.slip_date BETWEEN (SELECT first FROM calendar) AND (SELECT last FROM calendar)
            AND num_nulls({values}) = 0
        ) IS NOT TRUE
        OFFSET 0
    ) AS judged
    -- Most such lines turn out to be good, and to make rows of a line costs more than to judge it.
    WHERE num_nonnulls(VARIADIC codes) > 0
) AS cells
WHERE code IS NOT NULL
ORDER BY source_row_no, header COLLATE "C"
LIMIT {limit}
