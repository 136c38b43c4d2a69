-- The statements that copy all but the indexes, in order; ALTER TABLE serves views and materialized views too. Default
-- privileges may have added something, so what the new one has is revoked first. Whoever gets it has to have CREATE on
-- its schema, which goes when the swap is done.
WITH old AS (
    SELECT *, relowner::regrole::text AS owner FROM pg_class WHERE oid = %(old)s::text::regclass
),
new AS (
    SELECT c.*, format('%%I', nspname) AS schema, format('%%I.%%I', nspname, relname) AS name,
        CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS kind
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE c.oid = %(new)s::regclass
),
kept AS (
    SELECT a.attname, a.attacl, col_description(old.oid, a.attnum) AS comment
    FROM old JOIN pg_attribute AS a ON a.attrelid = old.oid AND a.attnum > 0
    JOIN new ON EXISTS (SELECT FROM pg_attribute WHERE attrelid = new.oid AND attname = a.attname)
),
granted AS (
    SELECT new.name, coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC') AS role,
        privilege_type || attname AS privilege, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS option
    FROM new CROSS JOIN old CROSS JOIN LATERAL (
        SELECT old.relacl AS acl, '' AS attname UNION ALL SELECT attacl, format(' (%%I)', attname) FROM kept
    ) AS acls CROSS JOIN aclexplode(acl)
    WHERE grantee <> old.relowner
)
SELECT 1 AS step, format('ALTER TABLE %%s SET (%%I = %%L)', name, option_name, option_value) AS statement
FROM new JOIN old USING (relkind) CROSS JOIN pg_options_to_table(old.reloptions)
UNION ALL
SELECT 2, format('COMMENT ON %%s %%s IS %%L', kind, new.name, text)
FROM new CROSS JOIN (
    SELECT coalesce(nullif(obj_description(old.oid, 'pg_class'), r.comment), %(comment)s) AS text
    FROM old LEFT JOIN log.relation AS r ON r.name = %(old)s::text
) AS comment
WHERE text IS NOT NULL
UNION ALL
SELECT 3, format('COMMENT ON COLUMN %%s.%%I IS %%L', name, attname, comment)
FROM new CROSS JOIN kept WHERE comment IS NOT NULL
UNION ALL
SELECT DISTINCT 4, format('REVOKE ALL ON %%s FROM %%s', name, coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'))
FROM new CROSS JOIN aclexplode(relacl) WHERE grantee <> relowner
UNION ALL
SELECT 5, format('GRANT %%s ON %%s TO %%s%%s', privilege, name, role, option) FROM granted
UNION ALL
SELECT 6, format('GRANT CREATE ON SCHEMA %%s TO %%s', schema, owner) FROM new JOIN old ON old.relowner <> new.relowner
UNION ALL
SELECT 7, format('ALTER TABLE %%s OWNER TO %%s', name, owner) FROM new JOIN old ON old.relowner <> new.relowner
ORDER BY step
