"""What earlier software has left in the database and nobody uses any more; dropped unless something needs it.

Views of ours whose file is gone are found by themselves and aren't listed here.
"""

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, read_query

# The spec's section Views: v_customer_sales_daily reads the base directly, so these two can go.
RELATIONS = ("mart.mv_sales_tree_daily", "mart.v_sales_tree_daily")
# The one rollup that there was before each was a relation of its own; revision 0009 has parked it.
PARKED_ROLLUP = "mv_pipeline_old_mart.rollup_daily"
# It refers to relations that don't exist.
FUNCTIONS = ("mart.refresh_inb5y()",)


def existing(connection: Connection, catalog: Catalog) -> list[str]:
    """The obsolete views and materialized views that exist, dependents first."""
    rows = connection.execute(
        read_query(__file__, "existing"),
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
        read_query(__file__, "needed_by"),
        {"names": names, "ours": ours},
    )
    return {name: f"{readers} reads it" for name, readers in rows}
