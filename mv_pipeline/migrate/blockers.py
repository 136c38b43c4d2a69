"""What blocks the swap of relations: definitions that can't be made, and what others have made of old ones.

Changes nothing: the new definitions are made as plain views in shadow schemas, in a transaction that is rolled back.
"""

from collections.abc import Collection, Mapping

import psycopg
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.migrate import build, roles
from mv_pipeline.migrate.dependents import read_needs, read_unmanaged_dependents
from mv_pipeline.migrate.state import kind_of


def find_blockers(
    connection: Connection,
    catalog: Catalog,
    names: list[str],
    changed_tables: Collection[str],
    going: Collection[str],
    staying: Collection[str],
) -> tuple[list[str], list[str]]:
    """Find what would keep relations from being built and swapped.

    Args:
        connection: in a transaction that the caller rolls back.
        catalog: the relations.
        names: of those to build, in the catalogue's order.
        changed_tables: tables that get triggers.
        going: obsolete relations that are dropped.
        staying: obsolete relations that something still needs.

    Returns:
        A sentence about each definition that can't be made, and about each object of others that blocks the swap.
    """
    made, wrong = build.rehearse(connection, catalog, names)
    ours = [*catalog.relations, *going]
    standing = [name for name in made if kind_of(connection, name)]
    unmanaged = read_unmanaged_dependents(connection, standing, ours)
    # A materialized view of others is built again, so what reads it has to find the same columns.
    definitions = {view.name: view.definition for view in unmanaged.views}
    definitions |= {view.name: view.query for view in unmanaged.materialized_views}
    found = _unreachable(connection, [*standing, *going, *changed_tables, *definitions])
    with roles.as_caller(connection):
        for name, definition in definitions.items():
            found += _unmanaged_blockers(connection, name, definition, made)
    return [*wrong.values()], found + _immovable(connection, standing, [*ours, *staying, *definitions])


def _unreachable(connection: Connection, names: list[str]) -> list[str]:
    user = connection.info.user
    return [
        f"{', '.join(found)} {'belongs' if len(found) == 1 else 'belong'} to {owner}, and {user} may not act as it. "
        f"GRANT {owner} TO {user}, or run `mv-pipeline migrate` as another role."
        for owner, found in roles.unreachable_owners(connection, names).items()
    ]


def _unmanaged_blockers(connection: Connection, name: str, definition: str, made: Mapping[str, str]) -> list[str]:
    whose, way_out = f"{name}, which isn't this project's,", "Change or drop it first."
    lost = [
        f"{whose} reads {column} of {read}, which {'gets another type' if column in new else 'goes'}. {way_out}"
        for read, column, kind in _columns_read(connection, name, made)
        for new in [build.columns(connection, made[read])]
        if new.get(column) != kind
    ]
    if lost:
        return lost
    before = build.columns(connection, identifier(name).as_string(connection))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL("CREATE TEMP VIEW mv_pipeline_side AS {}").format(sql.SQL(build.reading(definition, made)))
            )
            after = build.columns(connection, "pg_temp.mv_pipeline_side")
    except psycopg.errors.ProgrammingError as error:
        return [f"{whose} couldn't read the new definition: {error.diag.message_primary}. {way_out}"]
    changed = [column for column, kind in before.items() if after.get(column) != kind]
    return [f"{whose} would get another type in {', '.join(changed)}. {way_out}"] if changed else []


def _columns_read(connection: Connection, name: str, made: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The columns of relations that are to be swapped which a view reads, with their types."""
    rows = connection.execute(
        "SELECT DISTINCT n.nspname || '.' || c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod) "
        "FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid "
        "AND d.refclassid = 'pg_class'::regclass JOIN pg_class AS c ON c.oid = d.refobjid "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND a.attnum > 0 "
        "WHERE r.ev_class = %s::regclass AND n.nspname || '.' || c.relname = ANY (%s) ORDER BY 1, 2",
        [identifier(name).as_string(connection), list(made)],
    )
    return [tuple(row) for row in rows]


def _immovable(connection: Connection, standing: Collection[str], known: Collection[str]) -> list[str]:
    """What needs a relation that is to be swapped and can't be pointed at another one."""
    return [
        f"{what}, which isn't this project's, needs {name} and can't be pointed at a new one. "
        "Drop it first, and make it again afterwards."
        for name, what, is_view in read_needs(connection, standing)
        if not (is_view and what in known)
    ]
