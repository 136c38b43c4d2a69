SELECT n.nspname || '.' || c.relname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN log.relation AS r ON r.name = n.nspname || '.' || c.relname
WHERE c.relkind IN ('v', 'm')
    AND n.nspname || '.' || c.relname <> ALL (%s)
    AND (r.name IS NOT NULL OR n.nspname || '.' || c.relname = ANY (%s))
ORDER BY c.oid DESC
