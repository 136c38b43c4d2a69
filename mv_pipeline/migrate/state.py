"""Views and materialized views: what stands in the database, and what each of them needs.

The decision is a pure function over names and definitions; how a relation is built and put in its place stands in
`schema.build` and `schema.swap`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline.migrate.shapes import KINDS, read_indexes
from mv_pipeline.refresh.views import has_concurrent_index

Action = Literal["create", "adopt", "swap", "keep"]


@dataclass(frozen=True)
class Existing:
    """A relation that stands in the database.

    Args:
        definition_hash: the hash of the file that it was made from; None: made by others.
        as_file: what the database holds is what the file says; None: not looked.
    """

    definition_hash: str | None
    as_file: bool | None = None


def decide(catalog: Catalog, existing: Mapping[str, Existing]) -> dict[str, Action]:
    """Decide what each relation needs; what reads one that is swapped is swapped with it.

    Args:
        catalog: the relations as the files have them.
        existing: the relations that stand in the database, by name.
    """
    actions: dict[str, Action] = {}
    for name, relation in catalog.relations.items():
        standing = existing.get(name)
        recorded = standing is not None and standing.definition_hash == relation.definition_hash
        if standing is None:
            actions[name] = "create"
        elif any(actions.get(dependency) in ("create", "swap") for dependency in relation.dependencies):
            actions[name] = "swap"
        elif standing.as_file is None:
            actions[name] = "keep" if recorded else "swap"
        elif standing.as_file:
            actions[name] = "keep" if recorded else "adopt"
        else:
            actions[name] = "swap"
    return actions


def changes(actions: Mapping[str, Action]) -> dict[str, Action]:
    """The actions that change something."""
    return {name: action for name, action in actions.items() if action != "keep"}


def edited(connection: Connection, catalog: Catalog) -> list[str]:
    """The relations whose files aren't what the database was migrated to, by their hashes alone."""
    return list(changes(decide(catalog, read_recorded(connection, catalog))))


def read_recorded(connection: Connection, catalog: Catalog) -> dict[str, Existing]:
    """Read which of the catalogue's relations stand in the database, and what they were made from."""
    rows = connection.execute(
        "SELECT name, r.definition_hash FROM unnest(%s::text[]) AS name LEFT JOIN log.relation AS r USING (name) "
        "WHERE to_regclass(name) IS NOT NULL",
        [list(catalog.relations)],
    )
    return {name: Existing(definition_hash) for name, definition_hash in rows}


def read_existing(connection: Connection, catalog: Catalog) -> dict[str, Existing]:
    """Read what stands, and compare what the database holds with what the files say.

    Args:
        connection: in a transaction.
        catalog: the relations as the files have them.
    """
    return {
        name: Existing(standing.definition_hash, is_as_file(connection, catalog.relations[name]))
        for name, standing in read_recorded(connection, catalog).items()
    }


def kind_of(connection: Connection, name: str) -> str | None:
    """The kind of the relation of that name, as pg_class has it; None: there is none."""
    # By name, since to_regclass refuses to look into a schema that the role may not use.
    row = connection.execute(
        "SELECT relkind::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace "
        "WHERE n.nspname || '.' || relname = %s",
        [name],
    ).fetchone()
    return str(row[0]) if row else None


def is_as_file(connection: Connection, relation: Relation) -> bool:
    """True if the database holds a relation as its file says: kind, definition, key and indexes.

    PostgreSQL prints both definitions, so neither blanks nor a newer server's way of printing make a difference.

    Args:
        connection: what is made for the comparison is taken back.
        relation: one that stands.
    """
    kind = scalar(connection, "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [relation.name])
    if KINDS.get(kind) != relation.kind:
        return False
    if relation.materialized and not (_is_indexed(connection, relation) and _is_filled(connection, relation)):
        return False
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path = pg_catalog")
            connection.execute(sql.SQL("CREATE TEMP VIEW mv_pipeline_side AS {}").format(sql.SQL(relation.query)))
            return bool(
                scalar(
                    connection,
                    "SELECT pg_get_viewdef(%s::regclass) = pg_get_viewdef('pg_temp.mv_pipeline_side'::regclass)",
                    [relation.name],
                )
            )
    except psycopg.errors.ProgrammingError:
        # The file's SELECT reads what isn't there yet, so it can't be what stands.
        return False


def _is_filled(connection: Connection, relation: Relation) -> bool:
    return bool(scalar(connection, "SELECT relispopulated FROM pg_class WHERE oid = %s::regclass", [relation.name]))


def index_names(relation: Relation, columns: Sequence[str]) -> tuple[str, str]:
    """The names that an index on these columns has if it was made from a header: as the key, and as another."""
    return f"{relation.table}_key", "_".join((relation.table, *columns))


def _is_indexed(connection: Connection, relation: Relation) -> bool:
    """True if the header's indexes stand, and none that an earlier header asked for."""
    plain = [index for index in read_indexes(connection, relation.name) if index.valid and index.plain]
    wanted = {(True, relation.header.key), *((False, columns) for columns in relation.header.indexes)}
    standing = {(index.unique, index.columns) for index in plain}
    ours = {(i.unique, i.columns) for i in plain if i.name in index_names(relation, i.columns)}
    return has_concurrent_index(connection, relation) and wanted <= standing and ours <= wanted
