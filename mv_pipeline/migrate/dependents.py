"""Unmanaged dependents: views and materialized views of others that read relations of ours.

A plain view is pointed at the relation that takes a place; a materialized one has to be built again with it, since
PostgreSQL can't point it elsewhere. Nothing here refreshes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mv_pipeline.catalog.relations import Header, Relation, RelationKind
from mv_pipeline.database.connection import Connection

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
            """
            WITH RECURSIVE existing AS (
                SELECT c.*, n.nspname || '.' || c.relname AS name
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm')
            ),
            found (oid, replaced) AS (
                SELECT oid, true FROM existing WHERE name = ANY (%(names)s)
                UNION
                SELECT reader.oid, reader.relkind = 'm' FROM found
                JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = found.oid
                JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
                JOIN existing AS reader ON reader.oid = r.ev_class
                WHERE found.replaced AND reader.name <> ALL (%(ours)s)
            )
            SELECT name, rtrim(pg_get_viewdef(oid), ';'),
                CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, relispopulated,
                (SELECT 'WITH (' || string_agg(format('%%I = %%L', option_name, option_value), ', ') || ')'
                FROM pg_options_to_table(reloptions))
            FROM found JOIN existing USING (oid) WHERE name <> ALL (%(names)s)
            -- Nothing can read what was made after it, so each follows what it reads.
            ORDER BY oid
            """,
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
        "SELECT DISTINCT n.nspname || '.' || c.relname, CASE WHEN r.oid IS NULL "
        "THEN pg_describe_object(d.classid, d.objid, d.objsubid) ELSE rn.nspname || '.' || reader.relname END, "
        "r.oid IS NOT NULL FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_type AS t ON t.oid = c.reltype "
        "JOIN pg_depend AS d ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) "
        "OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)) "
        "LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid "
        "LEFT JOIN pg_class AS reader ON reader.oid = r.ev_class "
        "LEFT JOIN pg_namespace AS rn ON rn.oid = reader.relnamespace "
        "WHERE (n.nspname || '.' || c.relname = ANY (%(names)s) OR c.oid IN ("
        "SELECT relid FROM unnest(%(names)s::text[]) AS name, pg_partition_tree(to_regclass(name)))) "
        "AND d.deptype = 'n' "
        "AND reader.oid IS DISTINCT FROM c.oid ORDER BY 1, 2",
        {"names": list(names)},
    ).fetchall()
