"""Each rollup and materialized view as it is now: its rows, size, newest day, last refresh and checks."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation, Rollup
from mv_pipeline.checks.rules import quick_checks
from mv_pipeline.database.connection import Connection, identifier, one_row, scalar
from mv_pipeline.refresh.rollup import rollups_with_news
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import TIME_ZONE


@dataclass(frozen=True)
class ViewReport:
    """One rollup or materialized view as it is now.

    Args:
        name: schema and name.
        rows: number of rows.
        size_bytes: of what is stored, with indexes.
        newest_day: ISO date, for rollups and for views with one row per day.
        last_refresh: ISO time in Asia/Tokyo; None: never. Of a rollup, when it last stored days that had changed.
        seconds: duration of the last refresh; None for a rollup.
        stale: whether something has changed since; of a rollup, whether days wait to be stored.
        checks_passed: names of the checks that pass.
        checks_failed: the message of each check that fails, by name.
    """

    name: str
    rows: int
    size_bytes: int
    newest_day: str | None
    last_refresh: str | None
    seconds: float | None
    stale: bool
    checks_passed: list[str]
    checks_failed: dict[str, str]


def read_status(connection: Connection, catalog: Catalog) -> list[ViewReport]:
    """Read every rollup and materialized view, running its checks."""
    stored: list[Relation] = [*catalog.rollups, *catalog.materialized_views]
    return [_read_view(connection, catalog, view) for view in stored]


def _read_view(connection: Connection, catalog: Catalog, view: Relation) -> ViewReport:
    seconds = None
    if isinstance(view, Rollup):
        stored = view.stored
        day = view.day
        refreshed_at = scalar(connection, "SELECT max(updated_at) FROM log.rollup WHERE stored = %s", [stored])
        stale = bool(rollups_with_news(connection, [view]))
    else:
        (status,) = read_view_status(connection, [view])
        stored = view.name
        day = view.header.key[0] if view.header.days else ""
        refreshed_at = status.refreshed_at
        stale = status.stale
        seconds = status.seconds
    rows, newest, size = one_row(
        connection,
        sql.SQL("SELECT count(*), max({})::text, coalesce(pg_total_relation_size(to_regclass(%s)), 0) FROM {}").format(
            sql.Identifier(day) if day else sql.SQL("NULL"), identifier(view.name)
        ),
        [stored],
    )
    results = {check.name: check.evaluate(connection) for check in quick_checks(catalog, view.name)}
    return ViewReport(
        name=view.name,
        rows=rows,
        size_bytes=size,
        newest_day=newest,
        last_refresh=_tokyo(refreshed_at) if refreshed_at else None,
        seconds=seconds,
        stale=stale,
        checks_passed=[name for name, result in results.items() if result.passed],
        checks_failed={name: result.text for name, result in results.items() if not result.passed},
    )


def _tokyo(at: datetime) -> str:
    return at.astimezone(TIME_ZONE).isoformat(timespec="seconds")
