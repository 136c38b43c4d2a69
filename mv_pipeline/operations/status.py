"""Each materialized view as it is now: its rows, size, newest day, last refresh and checks."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.checks.rules import view_checks
from mv_pipeline.database.connection import Connection, identifier, one_row
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import TIME_ZONE


@dataclass(frozen=True)
class ViewReport:
    """One materialized view as it is now.

    Args:
        name: schema and name.
        rows: number of rows.
        size_bytes: with indexes.
        newest_day: ISO date, for views with one row per day.
        last_refresh: ISO time in Asia/Tokyo; None: never.
        seconds: duration of the last refresh.
        checks_passed: names of the checks that pass.
        checks_failed: the message of each check that fails, by name.
    """

    name: str
    rows: int
    size_bytes: int
    newest_day: str | None
    last_refresh: str | None
    seconds: float | None
    checks_passed: list[str]
    checks_failed: dict[str, str]


def read_status(connection: Connection, catalog: Catalog) -> list[ViewReport]:
    """Read every materialized view, running its checks."""
    return [_read_view(connection, view) for view in catalog.materialized_views]


def _read_view(connection: Connection, view: Relation) -> ViewReport:
    day = sql.Identifier(view.header.key[0]) if view.header.days else sql.SQL("NULL")
    row = one_row(
        connection,
        sql.SQL("SELECT count(*), max({})::text, pg_total_relation_size(%s::regclass) FROM {}").format(
            day, identifier(view.name)
        ),
        [view.name],
    )
    rows, newest, size = row
    (status,) = read_view_status(connection, [view])
    results = {check.name: check.evaluate(connection) for check in view_checks(view)}
    return ViewReport(
        name=view.name,
        rows=rows,
        size_bytes=size,
        newest_day=newest,
        last_refresh=_tokyo(status.refreshed_at) if status.refreshed_at else None,
        seconds=status.seconds,
        checks_passed=[name for name, result in results.items() if result.passed],
        checks_failed={name: result.text for name, result in results.items() if not result.passed},
    )


def _tokyo(at: datetime) -> str:
    return at.astimezone(TIME_ZONE).isoformat(timespec="seconds")
