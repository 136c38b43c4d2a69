WITH objects AS (
    SELECT 'SCHEMA' AS kind, nspname::text AS name, nspacl AS acl, nspowner AS owner
    FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
    UNION ALL
    SELECT CASE WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname || '.' || relname, relacl, relowner
    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'FUNCTION', format('%%s.%%s(%%s)', nspname, proname, oidvectortypes(proargtypes)), proacl, proowner
    FROM pg_proc JOIN pg_namespace AS n ON n.oid = pronamespace WHERE nspname = ANY (%(schemas)s)
)
SELECT kind, name, pg_get_userbyid(owner)::text, pg_get_userbyid(grantee)::text, privilege_type
FROM objects LEFT JOIN LATERAL aclexplode(acl)
ON grantee <> owner AND pg_get_userbyid(grantee) = ANY (%(roles)s)
