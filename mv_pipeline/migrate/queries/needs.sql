-- What needs a relation, one of its partitions, or its row type.
SELECT DISTINCT
    n.nspname || '.' || c.relname,
    CASE
        WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
        ELSE rn.nspname || '.' || reader.relname
    END,
    r.oid IS NOT NULL
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = c.reltype
JOIN pg_depend AS d
    ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
    OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray))
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class AS reader ON reader.oid = r.ev_class
LEFT JOIN pg_namespace AS rn ON rn.oid = reader.relnamespace
WHERE (
    n.nspname || '.' || c.relname = ANY (%(names)s)
    OR c.oid IN (SELECT relid FROM unnest(%(names)s::text[]) AS name, pg_partition_tree(to_regclass(name)))
)
AND d.deptype = 'n' AND reader.oid IS DISTINCT FROM c.oid
ORDER BY 1, 2
