"""What others have put on a relation, copied to the one that takes its place.

Owner, privileges, options, comments and indexes of their own. Both relations exist while this is done.
"""

from collections.abc import Iterable
from typing import LiteralString

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, identifier, read_query
from mv_pipeline.migrate.build import reading_shadows, shadow_name
from mv_pipeline.migrate.indexes import header_indexes, read_indexes
from mv_pipeline.migrate.table_shapes import column_types

# A comment that is no more what was written has been written by others since.
_OURS: LiteralString = "comment = obj_description(to_regclass(name), 'pg_class')"


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
        read_query(__file__, "copies"),
        {"old": relation.name, "new": shadow_name(relation.name), "comment": comment},
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
