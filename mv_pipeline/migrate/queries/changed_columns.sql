-- The columns that a view reads of relations, and that these don't have any more in their shadow schemas.
SELECT DISTINCT
    made.name,
    old.attname::text,
    CASE WHEN new.attname IS NULL THEN 'goes' ELSE 'gets another type' END
FROM pg_rewrite AS r
JOIN pg_depend AS d
    ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
JOIN unnest(%(names)s::text[], %(shadows)s::text[]) AS made (name, shadow) ON d.refobjid = to_regclass(made.name)
JOIN pg_attribute AS old ON old.attrelid = d.refobjid AND old.attnum = d.refobjsubid AND old.attnum > 0
LEFT JOIN pg_attribute AS new ON new.attrelid = to_regclass(made.shadow) AND new.attname = old.attname
WHERE r.ev_class = %(reader)s::regclass
AND (old.atttypid, old.atttypmod) IS DISTINCT FROM (new.atttypid, new.atttypmod)
ORDER BY 1, 2
