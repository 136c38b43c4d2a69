SELECT c.relowner::regrole::text, count(*), string_agg(name, ', ' ORDER BY name)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = relnamespace
JOIN unnest(%s::text[]) AS name ON name = nspname || '.' || relname
WHERE NOT pg_has_role(session_user, c.relowner, 'USAGE')
GROUP BY 1
ORDER BY 1
