"""What others have put on a relation, copied to the one that takes its place.

Owner, privileges, options, comments and indexes of their own. Both relations stand while this is done.
"""

from collections.abc import Iterable
from typing import LiteralString

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.tables import SOURCES
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.migrate.build import columns, reading
from mv_pipeline.migrate.indexes import index_names, read_indexes

_PUBLIC = sql.SQL("PUBLIC")
# A comment that is no more what was written has been written by others since.
_OURS: LiteralString = "comment = obj_description(to_regclass(name), 'pg_class')"


def copy_attributes(connection: Connection, relation: Relation, old: str, new: str) -> None:
    """Put on the new relation what stands on the old one.

    Args:
        connection: in the transaction that swaps them.
        relation: what they are.
        old: the name of the one that stands.
        new: the name of the one that takes its place.

    Raises:
        psycopg.errors.InsufficientPrivilege: the session may not give it to the owner.
    """
    _options(connection, relation, old, new)
    _indexes(connection, relation, old, new)
    _comments(connection, relation, old, new)
    _privileges(connection, old, new)
    _owner(connection, relation, old, new)


def describe(connection: Connection, relation: Relation, name: str) -> None:
    """Give a relation the description of its file as its comment."""
    connection.execute(
        sql.SQL("COMMENT ON {} {} IS {}").format(
            _kind(relation), identifier(name), sql.Literal(relation.header.comment)
        )
    )


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
    sources = {source.table for source in SOURCES}
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE log.relation SET (upstream, sources, reads_business_date) = (%(upstream)s, %(sources)s, %(date)s) "
            "WHERE name = %(name)s AND (upstream, sources, reads_business_date) "
            "IS DISTINCT FROM (%(upstream)s::text[], %(sources)s::text[], %(date)s)",
            [
                {
                    "name": name,
                    "upstream": sorted(catalog.upstream(name)),
                    "sources": sorted(catalog.upstream(name) & sources),
                    "date": catalog.reads_business_date(name),
                }
                for name in catalog.relations
            ],
        )


def outdated_comments(connection: Connection, relations: Iterable[Relation]) -> list[Relation]:
    """The relations whose comments are ours and say something else than their files do now."""
    ours: dict[str, str] = dict(connection.execute("SELECT name, comment FROM log.relation WHERE " + _OURS).fetchall())
    return [
        relation
        for relation in relations
        if ours.get(relation.name, relation.header.comment) != relation.header.comment
    ]


def _kind(relation: Relation) -> sql.SQL:
    return sql.SQL("MATERIALIZED VIEW" if relation.materialized else "VIEW")


def _options(connection: Connection, relation: Relation, old: str, new: str) -> None:
    rows = connection.execute(
        "SELECT o.option_name, o.option_value FROM pg_class AS c, pg_options_to_table(reloptions) AS o "
        "WHERE c.oid = %s::regclass AND c.relkind = (SELECT relkind FROM pg_class WHERE oid = %s::regclass)",
        [old, new],
    )
    for name, value in rows.fetchall():
        connection.execute(
            sql.SQL("ALTER {} {} SET ({} = {})").format(
                _kind(relation),
                identifier(new),
                sql.SQL(".").join(map(sql.Identifier, name.split("."))),
                sql.Literal(value),
            )
        )


def _indexes(connection: Connection, relation: Relation, old: str, new: str) -> None:
    """Make the indexes that others have put on the old one, where their columns are still there."""
    ours = {(relation.header.key, True), *((names, False) for names in relation.header.indexes)}
    present = columns(connection, new).keys()
    for index in read_indexes(connection, old):
        named_as_ours = index.name in index_names(relation, index.columns)
        from_header = index.plain and (named_as_ours or (index.columns, index.unique) in ours)
        if index.valid and {*index.columns} <= present and not from_header:
            connection.execute(sql.SQL(reading(index.definition, {old: new})))


def _comments(connection: Connection, relation: Relation, old: str, new: str) -> None:
    """Copy the comments of the columns, and of the relation unless this project has said it."""
    ours = scalar(
        connection, "SELECT EXISTS (SELECT FROM log.relation WHERE name = %s AND " + _OURS + ")", [relation.name]
    )
    theirs = None if ours else scalar(connection, "SELECT obj_description(%s::regclass, 'pg_class')", [old])
    if theirs is None and relation.header.description:
        describe(connection, relation, new)
    elif theirs:
        connection.execute(
            sql.SQL("COMMENT ON {} {} IS {}").format(_kind(relation), identifier(new), sql.Literal(theirs))
        )
    present = columns(connection, new).keys()
    rows = connection.execute(
        "SELECT attname::text, description FROM pg_description JOIN pg_attribute ON attrelid = objoid "
        "AND attnum = objsubid WHERE classoid = 'pg_class'::regclass AND objoid = %s::regclass AND objsubid > 0",
        [old],
    )
    for column, text in rows.fetchall():
        if column in present:
            connection.execute(
                sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                    sql.SQL(".").join([identifier(new), sql.Identifier(column)]), sql.Literal(text)
                )
            )


_GRANTED = (
    "SELECT nullif(grantee, 0)::regrole::text, privilege_type, is_grantable, '' FROM pg_class, aclexplode(relacl) "
    "WHERE oid = %(name)s::regclass AND grantee <> relowner UNION ALL "
    "SELECT nullif(grantee, 0)::regrole::text, privilege_type, is_grantable, attname::text FROM pg_attribute "
    "CROSS JOIN aclexplode(attacl) JOIN pg_class AS c ON c.oid = attrelid "
    "WHERE attrelid = %(name)s::regclass AND grantee <> relowner AND NOT attisdropped"
)


def _privileges(connection: Connection, old: str, new: str) -> None:
    """Let the same roles do the same; what default privileges have added is taken away."""
    for role in {row[0] for row in connection.execute(_GRANTED, {"name": new}).fetchall()}:
        connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(identifier(new), _role(role)))
    present = columns(connection, new).keys()
    for role, right, grantable, column in connection.execute(_GRANTED, {"name": old}).fetchall():
        if column and column not in present:
            continue
        connection.execute(
            sql.SQL("GRANT {}{} ON {} TO {}{}").format(
                sql.SQL(right),
                sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""),
                identifier(new),
                _role(role),
                sql.SQL(" WITH GRANT OPTION" if grantable else ""),
            )
        )


def _role(role: str | None) -> sql.Composable:
    # As PostgreSQL prints a role, quoted where it has to be.
    return sql.SQL(role) if role else _PUBLIC


def _owner(connection: Connection, relation: Relation, old: str, new: str) -> None:
    owner = scalar(
        connection,
        "SELECT (SELECT relowner FROM pg_class WHERE oid = %(old)s::regclass)::regrole::text "
        "WHERE (SELECT relowner FROM pg_class WHERE oid = %(old)s::regclass) <> "
        "(SELECT relowner FROM pg_class WHERE oid = %(new)s::regclass) UNION ALL SELECT NULL LIMIT 1",
        {"old": old, "new": new},
    )
    if owner:
        # Whoever gets it has to have CREATE where it stands; that schema goes when the swap is done.
        schema = sql.Identifier(new.split(".")[0])
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA {} TO {}").format(schema, sql.SQL(owner)))
        connection.execute(sql.SQL("ALTER {} {} OWNER TO {}").format(_kind(relation), identifier(new), sql.SQL(owner)))
