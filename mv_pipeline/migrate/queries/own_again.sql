SELECT string_agg(format('ALTER TABLE %%I.%%I OWNER TO %%s;', nspname, relname, relowner::regrole), ' ' ORDER BY place)
FROM pg_class
JOIN pg_namespace AS n ON n.oid = relnamespace
JOIN unnest(%s::text[]) WITH ORDINALITY AS wanted (name, place) ON name = nspname || '.' || relname
