"""What others have put on a relation, copied to the one that takes its place.

Owner, privileges, options, comments and indexes of their own. Both relations exist while this is done.
"""

from collections.abc import Iterable
from typing import LiteralString

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.migrate.build import reading_shadows, shadow_name
from mv_pipeline.migrate.indexes import header_indexes, read_indexes
from mv_pipeline.migrate.table_shapes import column_types

# A comment that is no more what was written has been written by others since.
_OURS: LiteralString = "comment = obj_description(to_regclass(name), 'pg_class')"

# The statements that copy all but the indexes, in order; ALTER TABLE serves views and materialized views too. Default
# privileges may have added something, so what the new one has is revoked first. Whoever gets it has to have CREATE on
# its schema, which goes when the swap is done.
_COPIES = """
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
"""


def copy_attributes(connection: Connection, relation: Relation) -> None:
    """Give the new relation what others have put on the old one.

    Args:
        connection: in the transaction that swaps them.
        relation: what is replaced; the new one is in its shadow schema.

    Raises:
        psycopg.errors.InsufficientPrivilege: the session may not give it to the owner.
    """
    _copy_indexes(connection, relation)
    comment = relation.header.comment if relation.header.description else None
    copies = connection.execute(
        _COPIES, {"old": relation.name, "new": shadow_name(relation.name), "comment": comment}
    ).fetchall()
    for _, statement in copies:
        connection.execute(sql.SQL(statement))


def _copy_indexes(connection: Connection, relation: Relation) -> None:
    """Make the indexes that others have put on the old one, where their columns are still there."""
    present = column_types(connection, shadow_name(relation.name)).keys()
    for existing in read_indexes(connection, relation.name):
        index = existing.index
        from_header = existing.plain and (existing.name == index.name or index in header_indexes(relation))
        if existing.valid and {*index.columns} <= present and not from_header:
            connection.execute(sql.SQL(reading_shadows(existing.definition, [relation.name])))


def describe(connection: Connection, relation: Relation, name: str) -> None:
    """Give a relation the description of its file as its comment."""
    statement = sql.SQL("COMMENT ON {} {} IS {}")
    kind = sql.SQL(relation.made_as.upper())
    connection.execute(statement.format(kind, identifier(name), sql.Literal(relation.header.comment)))


def record(connection: Connection, relation: Relation) -> None:
    """Remember which file a relation was made from, and its comment if that is the file's."""
    connection.execute(
        "INSERT INTO log.relation (name, kind, definition_hash, comment) VALUES (%(name)s, %(kind)s, %(hash)s, "
        "(SELECT c FROM obj_description(to_regclass(%(name)s), 'pg_class') AS c WHERE c = %(comment)s)) "
        "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, definition_hash = excluded.definition_hash, "
        "comment = excluded.comment, created_at = now()",
        {
            "name": relation.name,
            "kind": relation.kind,
            "hash": relation.definition_hash,
            "comment": relation.header.comment,
        },
    )


def record_lineage(connection: Connection, catalog: Catalog) -> None:
    """Remember what each relation reads, for log.v_view_status."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE log.relation SET upstream = %s, reads_business_date = %s WHERE name = %s",
            [(sorted(catalog.upstream(name)), catalog.reads_business_date(name), name) for name in catalog.relations],
        )


def outdated_comments(connection: Connection, relations: Iterable[Relation]) -> list[Relation]:
    """The relations whose comments are ours and say something else than their files do now."""
    ours: dict[str, str] = dict(connection.execute("SELECT name, comment FROM log.relation WHERE " + _OURS).fetchall())
    return [
        relation
        for relation in relations
        if ours.get(relation.name, relation.header.comment) != relation.header.comment
    ]
