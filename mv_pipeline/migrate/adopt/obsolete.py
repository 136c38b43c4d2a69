"""What earlier software has left in the database and nobody uses any more; dropped unless something needs it.

Views of ours whose file is gone are found by themselves and aren't listed here.
"""

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection

# The spec's section Views: v_customer_sales_daily reads the base directly, so these two can go.
RELATIONS = ("mart.mv_sales_tree_daily", "mart.v_sales_tree_daily")
# The one rollup that there was before each was a relation of its own; revision 0009 has parked it.
PARKED_ROLLUP = "mv_pipeline_old_mart.rollup_daily"
# It refers to relations that don't exist.
FUNCTIONS = ("mart.refresh_inb5y()",)


def existing(connection: Connection, catalog: Catalog) -> list[str]:
    """The obsolete views and materialized views that exist, dependents first."""
    rows = connection.execute(
        "SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "LEFT JOIN log.relation AS r ON r.name = n.nspname || '.' || c.relname "
        "WHERE c.relkind IN ('v', 'm') AND n.nspname || '.' || c.relname <> ALL (%s) "
        "AND (r.name IS NOT NULL OR n.nspname || '.' || c.relname = ANY (%s)) ORDER BY c.oid DESC",
        [list(catalog.relations), list(RELATIONS)],
    )
    return [row[0] for row in rows]


def functions(connection: Connection) -> list[str]:
    """The obsolete functions that exist."""
    rows = connection.execute(
        "SELECT f FROM unnest(%s::text[]) AS f WHERE to_regprocedure(f) IS NOT NULL", [list(FUNCTIONS)]
    )
    return [row[0] for row in rows]


def needed_by(connection: Connection, names: list[str], ours: list[str]) -> dict[str, str]:
    """Which of the obsolete relations have to stay, and what of others needs them.

    Args:
        ours: relations that are about to be rebuilt, so that what they need now doesn't count.
    """
    rows = connection.execute(
        "WITH RECURSIVE readers AS ("
        "SELECT t.name AS obsolete, t.name::regclass::oid AS oid FROM unnest(%(names)s::text[]) AS t (name) "
        "UNION SELECT readers.obsolete, r.ev_class FROM readers JOIN pg_depend AS d ON d.refobjid = readers.oid "
        "AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass "
        "JOIN pg_rewrite AS r ON r.oid = d.objid WHERE r.ev_class <> ALL (%(ours)s::regclass[]::oid[])) "
        "SELECT obsolete, string_agg(DISTINCT oid::regclass::text, ', ') FROM readers "
        "WHERE oid <> ALL (%(names)s::regclass[]::oid[]) GROUP BY obsolete",
        {"names": names, "ours": ours},
    )
    return {name: f"{readers} reads it" for name, readers in rows}
