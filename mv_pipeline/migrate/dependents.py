"""Unmanaged dependents: views and materialized views of others that read relations of ours.

A plain view is pointed at the relation that takes a place; a materialized one has to be built again with it, since
PostgreSQL can't point it elsewhere. Nothing here refreshes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mv_pipeline.catalog.relations import Header, Relation, RelationKind
from mv_pipeline.database.connection import Connection, read_query

_HEADER = Header(description="", description_en="", owner="team:others")


@dataclass(frozen=True)
class UnmanagedDependent(Relation):
    """A view or materialized view of others that reads relations of ours, as PostgreSQL prints its definition.

    Args:
        filled: it has rows; a materialized view without is made without.
        options: of a view, as its CREATE VIEW has them.
    """

    kind: RelationKind = "view"
    filled: bool = True
    options: str = ""


def read_unmanaged_dependents(
    connection: Connection, names: Collection[str], ours: Collection[str]
) -> list[UnmanagedDependent]:
    """Find what of others reads relations directly, or reads a materialized view of others that does.

    Args:
        ours: the relations that aren't others'.
    """
    with connection.transaction(force_rollback=True):
        # So that every name is printed with its schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        rows = connection.execute(
            read_query(__file__, "unmanaged_dependents"),
            {"names": [*names], "ours": [*ours]},
        )
        return [
            UnmanagedDependent(name, _HEADER, query, kind=kind, filled=filled, options=options or "")
            for name, query, kind, filled, options in rows
        ]


def read_needs(connection: Connection, names: Collection[str]) -> Sequence[tuple[str, str, bool]]:
    """What needs relations, their partitions, or their row types, so that they can't be dropped.

    Returns:
        For each need the relation, what needs it, and whether that is a view or materialized view, named as
        `schema.name`; anything else as PostgreSQL describes it.
    """
    return connection.execute(
        read_query(__file__, "needs"),
        {"names": list(names)},
    ).fetchall()
