"""What has changed after the refreshes that made what a check compares: the next refresh's business, and no fault.

A check and its news are read in one snapshot (`check.one_snapshot`), so that nothing comes between the two.
"""

from collections.abc import Iterable
from datetime import timedelta

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.checks.check import Excuse
from mv_pipeline.database.connection import Connection

LATE = timedelta(minutes=15)
"""For how long a change may wait: the sensor `changes` comes every few seconds, but runs take turns."""
LATE_MINUTES = LATE.seconds // 60
REASONS = sql.SQL(
    "(CASE WHEN restored THEN ARRAY['the database was restored on another server'] END "
    "|| CASE WHEN date_moved THEN ARRAY['the business date moved'] END "
    "|| ARRAY(SELECT name || ' changed' FROM unnest(changed) AS name))"
)
"""Why a row of log.v_view_status is stale, in words."""


def compared_views(catalog: Catalog, names: Iterable[str]) -> list[Relation]:
    """The materialized views among relations and what they read, in their order."""
    compared = {other for name in names for other in (name, *catalog.upstream(name))}
    return [view for view in catalog.materialized_views if view.name in compared]


def news_of(catalog: Catalog, names: Iterable[str]) -> Excuse:
    """The excuse of what compares these relations: one hasn't seen everything yet that another may show."""
    views = [view.name for view in compared_views(catalog, names)]
    query = sql.SQL(
        "SELECT DISTINCT reason FROM log.v_view_status CROSS JOIN unnest({}) AS reason WHERE relation = ANY (%s)"
    ).format(REASONS)

    def find(connection: Connection) -> str:
        found = sorted(reason for (reason,) in connection.execute(query, [views]))
        return f"{', '.join(found)} after the refresh" if found else ""

    return find
