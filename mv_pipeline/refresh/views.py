"""Refreshing one materialized view, and knowing whether it has to be refreshed.

The order of refreshes is the graph's, retries are Dagster's. Here is one view in one transaction.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import sql
from psycopg.rows import class_row

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, identifier, limit_waits, one_row, read_query, scalar, sessions
from mv_pipeline.refresh.counters import REFRESH_FAILURES, REFRESH_SECONDS, count
from mv_pipeline.settings import OperatorError


@dataclass(frozen=True)
class Refresh:
    """What one refresh did.

    Args:
        mode: `concurrently`, `plain` (readers wait; needed where there is nothing to compare with) or `create`.
        seconds: duration of the REFRESH statement.
        rows: rows after it.
        inserted, deleted: rows that it wrote; a changed row counts as one of each.
        size_bytes: the view's size with its indexes.
    """

    mode: str
    seconds: float
    rows: int
    inserted: int
    deleted: int
    size_bytes: int


_CONCURRENT_INDEX = (
    "EXISTS (SELECT FROM pg_index WHERE indrelid = %(name)s::regclass AND indisunique AND indisvalid "
    "AND indpred IS NULL AND indexprs IS NULL)"
)
_ROWS_WRITTEN = (
    "pg_stat_get_xact_tuples_inserted(%(name)s::regclass), pg_stat_get_xact_tuples_deleted(%(name)s::regclass)"
)


MIGRATE = "migrate"
"""The purpose of a migration's sessions."""


class NotMigratedError(OperatorError):
    """The database hasn't been migrated to this version."""


def describe_unmigrated(connection: Connection) -> str:
    """Say in a sentence, without its full stop, that the database has to be migrated first; empty: it has been."""
    sentence: str = scalar(
        connection,
        "SELECT CASE WHEN to_regclass('log.relation') IS NULL THEN 'The database is empty' "
        "WHEN to_regclass('log.v_view_news') IS NULL THEN 'The database is older than this version' ELSE '' END",
    )
    return sentence


def require_migrated(connection: Connection) -> None:
    """Make sure that the database has been migrated to this version.

    Raises:
        NotMigratedError: it hasn't.
    """
    if unmigrated := describe_unmigrated(connection):
        raise NotMigratedError(f"{unmigrated}. Run `mv-pipeline migrate`.")


def has_concurrent_index(connection: Connection, relation: Relation) -> bool:
    """True if the view has a unique index without WHERE, on columns only, as CONCURRENTLY needs."""
    return bool(scalar(connection, sql.SQL("SELECT " + _CONCURRENT_INDEX), {"name": relation.name}))


def refresh_view(connection: Connection, relation: Relation, run_id: str | None = None) -> Refresh:
    """Refresh one materialized view in a transaction of its own, and log it.

    CONCURRENTLY where the view is populated and has a fitting index, so that no reader waits; else plain.

    Args:
        connection: in autocommit mode.
    """
    with connection.transaction():
        # CONCURRENTLY analyzes the new rows before it compares them; it needs their number, not their distribution.
        # A refresh that a crash takes back takes its log row with it, so the view is known to be stale.
        limit_waits(connection, default_statistics_target="1", synchronous_commit="off")
        # The snapshot is taken before the refresh: what commits in between counts as news, so nothing is ever missed.
        # Counters of earlier transactions of this session may not have been flushed yet, so they are compared.
        snapshot, concurrently, *before = one_row(
            connection,
            sql.SQL(
                "SELECT log.seen()::text, relispopulated AND "
                + _CONCURRENT_INDEX
                + ", "
                + _ROWS_WRITTEN
                + " FROM pg_class WHERE oid = %(name)s::regclass"
            ),
            {"name": relation.name},
        )
        started = time.perf_counter()
        connection.execute(
            sql.SQL("REFRESH MATERIALIZED VIEW {} {}").format(
                sql.SQL("CONCURRENTLY" if concurrently else ""), identifier(relation.name)
            )
        )
        seconds = time.perf_counter() - started
        after = one_row(connection, sql.SQL("SELECT " + _ROWS_WRITTEN), {"name": relation.name})
        mode = "concurrently" if concurrently else "plain"
        written = (after[0] - before[0], after[1] - before[1]) if concurrently else None
        return log_refresh(connection, relation, mode, seconds, snapshot, run_id, written)


def log_refresh(
    connection: Connection,
    relation: Relation,
    mode: str,
    seconds: float,
    snapshot: object,
    run_id: str | None,
    written: tuple[int, int] | None = None,
) -> Refresh:
    """Measure a view that this transaction has just filled, and log it, as a refresh and as a change for what reads it.

    Args:
        connection: in the transaction that filled the view.
        mode: as in `Refresh`.
        seconds: as in `Refresh`.
        snapshot: what the filling could see.
        written: rows inserted and deleted; None: all of its rows are new.
    """
    rows, size = one_row(
        connection,
        sql.SQL("SELECT count(*), pg_total_relation_size(%s::regclass) FROM {}").format(identifier(relation.name)),
        [relation.name],
    )
    inserted, deleted = written or (rows, 0)
    connection.execute(
        "INSERT INTO log.view_refresh (relation, mode, started_at, seconds, row_count, rows_inserted, rows_deleted, "
        "size_bytes, business_date, snapshot, run_id) VALUES (%s, %s, clock_timestamp() - make_interval(secs => %s), "
        "%s, %s, %s, %s, %s, ref.business_date(), %s::pg_snapshot, %s)",
        [relation.name, mode, seconds, seconds, rows, inserted, deleted, size, snapshot, run_id],
    )
    count(connection, REFRESH_SECONDS, relation.name, seconds)
    # Though no row was written: others may have refreshed it before, and what reads it hasn't seen those rows.
    connection.execute("INSERT INTO log.change_note (relation) VALUES (%s)", [relation.name])
    return Refresh(mode, seconds, rows, inserted, deleted, size)


def log_failure(connection: Connection, relation: Relation, error: str, run_id: str | None = None) -> None:
    """Log that a view could not be refreshed, or a rollup stored, after all retries."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO log.refresh_failure (relation, error, run_id) VALUES (%s, %s, %s)",
            [relation.name, error, run_id],
        )
        count(connection, REFRESH_FAILURES, relation.name)


@dataclass(frozen=True)
class ViewStatus:
    """One row of log.v_view_status, with its defaults that of a view that the database doesn't have yet.

    Args:
        refreshed_at: when it was last refreshed; None: never.
        seconds, row_count, size_bytes: of that refresh; the size with indexes.
        business_date: the business date that it saw.
        changed: the relations upstream that have changed since.
        date_moved: True if the view depends on the business date and that has moved on.
        restored: True if the database has come from another server since, whose transactions mean nothing here.
        stale: True if a refresh now could find something new.
        waiting_since: the earliest time at which what is new can have become visible; None: nothing or unknown.
        failing_since, failed_at: the first and the newest failure after the end of that refresh; None: there is none.
        failures, error, run_id: how many there were; what the newest one said, and in which Dagster run.
    """

    relation: str
    refreshed_at: datetime | None = None
    seconds: float | None = None
    row_count: int | None = None
    size_bytes: int | None = None
    business_date: date | None = None
    changed: Sequence[str] = ()
    date_moved: bool = False
    restored: bool = False
    stale: bool = True
    waiting_since: datetime | None = None
    failing_since: datetime | None = None
    failed_at: datetime | None = None
    failures: int = 0
    error: str | None = None
    run_id: str | None = None


def read_view_status(connection: Connection, views: Iterable[Relation]) -> list[ViewStatus]:
    """Read the status of materialized views, in their order.

    Raises:
        NotMigratedError: the database hasn't been migrated to this version.
    """
    require_migrated(connection)
    names = [view.name for view in views]
    cursor = connection.cursor(row_factory=class_row(ViewStatus))
    cursor.execute("SELECT * FROM log.v_view_status WHERE relation = ANY (%s)", [names])
    found = {row.relation: row for row in cursor}
    return [found.get(name, ViewStatus(name)) for name in names]


@dataclass(frozen=True)
class ChangeLog:
    """The state of log.change_note.

    Args:
        newest: the highest entry's number, to tell one state from another; 0 if there is none.
        quiet_s: seconds since the newest entry; None if there is none.
        waiting_s: seconds since the oldest entry that a rollup hasn't seen; None if there is none.
    """

    newest: int
    quiet_s: float | None
    waiting_s: float | None


def read_change_log(connection: Connection) -> ChangeLog:
    """Say for how long changes have been coming."""
    return ChangeLog(*one_row(connection, read_query(__file__, "change_log")))


def prune_change_log(connection: Connection) -> int:
    """Delete the entries that every rollup and materialized view downstream has seen.

    Args:
        connection: in autocommit mode.

    Returns:
        The number of entries deleted; none while a migration builds views, which haven't seen them all.
    """
    if sessions(connection, MIGRATE):
        return 0
    return connection.execute(read_query(__file__, "prune_change_log")).rowcount
