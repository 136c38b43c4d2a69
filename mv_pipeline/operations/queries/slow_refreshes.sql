SELECT view, pid, xact_start, pg_blocking_pids(pid)
FROM unnest(%(views)s::text[]) AS view
-- The server cuts what a connection calls itself to what a name takes.
JOIN pg_stat_activity ON application_name = (%(application)s || ' refresh ' || view)::name
WHERE datname = current_database() AND xact_start < clock_timestamp() - make_interval(secs => %(limit)s)
ORDER BY xact_start
