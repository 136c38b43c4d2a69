WITH RECURSIVE readers AS (
    SELECT t.name AS obsolete, t.name::regclass::oid AS oid FROM unnest(%(names)s::text[]) AS t (name)
    UNION
    SELECT readers.obsolete, r.ev_class
    FROM readers
    JOIN pg_depend AS d
        ON d.refobjid = readers.oid AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid
    WHERE r.ev_class <> ALL (%(ours)s::regclass[]::oid[])
)
SELECT obsolete, string_agg(DISTINCT oid::regclass::text, ', ')
FROM readers
WHERE oid <> ALL (%(names)s::regclass[]::oid[])
GROUP BY obsolete
