WITH RECURSIVE existing AS (
    SELECT c.*, n.nspname || '.' || c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm')
),
found (oid, replaced) AS (
    SELECT oid, true FROM existing WHERE name = ANY (%(names)s)
    UNION
    SELECT reader.oid, reader.relkind = 'm' FROM found
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = found.oid
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN existing AS reader ON reader.oid = r.ev_class
    WHERE found.replaced AND reader.name <> ALL (%(ours)s)
)
SELECT name, rtrim(pg_get_viewdef(oid), ';'),
    CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, relispopulated,
    (SELECT 'WITH (' || string_agg(format('%%I = %%L', option_name, option_value), ', ') || ')'
    FROM pg_options_to_table(reloptions))
FROM found JOIN existing USING (oid) WHERE name <> ALL (%(names)s)
-- Nothing can read what was made after it, so each follows what it reads.
ORDER BY oid
