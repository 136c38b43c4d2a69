"""`status`: each materialized view with its rows, size, newest day, last refresh and checks, looked at now."""

from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg import sql
from rich.table import Table

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.checks.rules import view_probes
from mv_pipeline.cli.tables import new_table
from mv_pipeline.database.connection import Connection, identifier, one_row
from mv_pipeline.refresh.views import last_refresh
from mv_pipeline.settings import TIME_ZONE


@dataclass(frozen=True)
class ViewStatus:
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


def read_status(connection: Connection, catalog: Catalog) -> list[ViewStatus]:
    """Look at every materialized view, running its checks."""
    return [_read_view(connection, catalog, view) for view in catalog.materialized_views]


def as_records(statuses: list[ViewStatus]) -> list[dict[str, object]]:
    """The statuses as plain data, for JSON."""
    return [asdict(status) for status in statuses]


def as_table(statuses: list[ViewStatus]) -> Table:
    """The statuses as a table for the terminal."""
    table = new_table(
        "Materialized views (times in Asia/Tokyo)",
        *("view", "rows", "size", "newest day", "last refresh", "seconds", "checks"),
        right=("rows", "size", "seconds"),
    )
    for column in table.columns[:-1]:
        column.no_wrap = True
    for status in statuses:
        total = len(status.checks_passed) + len(status.checks_failed)
        table.add_row(
            status.name,
            f"{status.rows:,}",
            f"{status.size_bytes / 1024:,.0f} kB",
            status.newest_day or "",
            status.last_refresh[:19].replace("T", " ") if status.last_refresh else "never",
            "" if status.seconds is None else f"{status.seconds:.3f}",
            f"[red]{len(status.checks_failed)} of {total} failed: {', '.join(status.checks_failed)}[/red]"
            if status.checks_failed
            else f"[green]{total} of {total} passed[/green]",
        )
    return table


def _read_view(connection: Connection, catalog: Catalog, view: Relation) -> ViewStatus:
    day = sql.Identifier(view.header.key[0]) if view.header.days else sql.SQL("NULL")
    row = one_row(
        connection,
        sql.SQL("SELECT count(*), max({})::text, pg_total_relation_size(%s::regclass) FROM {}").format(
            day, identifier(view.name)
        ),
        [view.name],
    )
    rows, newest, size = row
    last = last_refresh(connection, catalog, view)
    findings = {probe.name: probe.look(connection) for probe in view_probes(catalog, view)}
    return ViewStatus(
        name=view.name,
        rows=rows,
        size_bytes=size,
        newest_day=newest,
        last_refresh=_tokyo(last.at) if last else None,
        seconds=last.seconds if last else None,
        checks_passed=[name for name, finding in findings.items() if finding.passed],
        checks_failed={name: finding.message for name, finding in findings.items() if not finding.passed},
    )


def _tokyo(at: datetime) -> str:
    return at.astimezone(TIME_ZONE).isoformat(timespec="seconds")
