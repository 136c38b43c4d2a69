SELECT DISTINCT a.pid, format(
    '%%s (%%s, pid %%s) since %%s, its newest statement began at %%s',
    a.usename,
    coalesce(nullif(a.application_name, ''), 'no name'),
    a.pid,
    coalesce((now() - a.xact_start)::text, 'a time it hides'),
    coalesce(to_char(a.query_start, 'HH24:MI:SS'), 'a time it hides')
)
FROM pg_locks AS l
JOIN pg_stat_activity AS a USING (pid)
WHERE l.relation = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
    AND l.granted
    AND a.pid <> pg_backend_pid()
    -- These keep nobody from writing.
    AND NOT (%s AND l.mode IN ('AccessShareLock', 'RowShareLock'))
ORDER BY a.pid
