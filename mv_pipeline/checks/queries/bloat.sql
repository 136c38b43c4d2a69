/*
severity: WARN
description: The view's file isn't far larger than its rows need.
message: "{bytes:,} bytes found for {rows:,} rows that need {bytes_needed:,}; at most {bytes_allowed:,} expected."
remedy: >-
  Find the old transaction that keeps dead rows, or enable autovacuum (docs/retention.md); then run
  `VACUUM FULL {view}`, for which readers wait.
*/
-- A row as a value has the same header as in the file; it begins at a multiple of 8 and has a pointer of 4 bytes.
-- A page of 8192 bytes has a header of 24. REFRESH … CONCURRENTLY leaves dead rows until a vacuum.
WITH measured AS (
    SELECT count(*) AS rows, sum((pg_column_size(v.*) + 7) / 8 * 8 + 4) AS bytes FROM {view} AS v
),
sizes AS (
    SELECT
        rows,
        pg_relation_size(%(view)s::regclass) AS bytes,
        (ceil(coalesce(measured.bytes, 0) / 8168.0) * 8192)::bigint AS bytes_needed,
        coalesce(pg_stat_get_dead_tuples(%(view)s::regclass), 0) AS dead_rows
    FROM measured
)
-- A view that changes wholly at each refresh needs twice its rows; autovacuum comes once a minute at the soonest.
SELECT bytes <= bytes_allowed AS passed, sizes.*, bytes_allowed
FROM sizes CROSS JOIN LATERAL greatest(4 * bytes_needed, 10000000) AS bytes_allowed
