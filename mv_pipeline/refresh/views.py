"""Refreshing one materialized view, and knowing whether it has to be refreshed.

The order of refreshes is the graph's, retries are Dagster's. Here is one view in one transaction.
"""

import time
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.tables import SOURCES
from mv_pipeline.database.connection import Connection, identifier, is_locked, limit_waits, one_row, scalar
from mv_pipeline.refresh.counters import REFRESH_FAILURES, REFRESH_SECONDS, count


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


AT_HOME = "EXISTS (SELECT FROM log.server JOIN pg_control_system() AS here USING (system_identifier))"
"""True in SQL if this server is the one that wrote the log; see `restored`."""

_CONCURRENT_INDEX = (
    "EXISTS (SELECT FROM pg_index WHERE indrelid = %(name)s::regclass AND indisunique AND indisvalid "
    "AND indpred IS NULL AND indexprs IS NULL)"
)
_ROWS_WRITTEN = (
    "pg_stat_get_xact_tuples_inserted(%(name)s::regclass), pg_stat_get_xact_tuples_deleted(%(name)s::regclass)"
)


def has_concurrent_index(connection: Connection, relation: Relation) -> bool:
    """True if the view has a unique index without WHERE, on columns only, as CONCURRENTLY needs."""
    return bool(scalar(connection, sql.SQL("SELECT " + _CONCURRENT_INDEX), {"name": relation.name}))


def refresh_view(connection: Connection, relation: Relation, run_id: str | None = None) -> Refresh:
    """Refresh one materialized view in a transaction of its own, and log it.

    CONCURRENTLY where the view is populated and has a fitting index, so that no reader waits; else plain.

    Args:
        connection: in autocommit mode.
        relation: the view.
        run_id: the Dagster run, for the log.
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
                "SELECT pg_current_snapshot()::text, relispopulated AND "
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
    """Measure a view that this transaction has just filled, log it, and note it as changed if rows differ.

    Args:
        connection: in the transaction that filled the view.
        relation: the view.
        mode: as in `Refresh`.
        seconds: as in `Refresh`.
        snapshot: what the filling could see.
        run_id: the Dagster run.
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
    if inserted or deleted:
        connection.execute("INSERT INTO log.change_note (relation) VALUES (%s)", [relation.name])
    return Refresh(mode, seconds, rows, inserted, deleted, size)


def log_failure(connection: Connection, relation: Relation, error: str, run_id: str | None = None) -> None:
    """Log that a view could not be refreshed, after all retries."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO log.refresh_failure (relation, error, run_id) VALUES (%s, %s, %s)",
            [relation.name, error, run_id],
        )
        count(connection, REFRESH_FAILURES, relation.name)


@dataclass(frozen=True)
class LastRefresh:
    """The newest log row of a view, and what has happened since.

    Args:
        at: when it was refreshed.
        seconds: how long that took.
        business_date: the business date that it saw.
        news: the relations upstream that have changed since, or wait to be rolled up.
        date_moved: True if the view depends on the business date and that has moved on.
        restored: True if the database has come from another server since, whose transactions mean nothing here.
    """

    at: datetime
    seconds: float
    business_date: date
    news: list[str]
    date_moved: bool
    restored: bool

    @property
    def fresh(self) -> bool:
        """True if a refresh now would find nothing new."""
        return not (self.news or self.date_moved or self.restored)


def last_refresh(connection: Connection, catalog: Catalog, relation: Relation) -> LastRefresh | None:
    """Say when a view was last refreshed and what has changed upstream since; None: never."""
    row = connection.execute(
        "SELECT started_at, seconds, business_date, business_date <> ref.business_date(), "
        "ARRAY(SELECT DISTINCT n.relation FROM log.change_note AS n WHERE n.relation = ANY (%(upstream)s) "
        # A note on a source's day waits for the rollup, so it is news even to a refresh that came after it.
        "AND (n.relation = ANY (%(sources)s) OR NOT pg_visible_in_snapshot(n.xid, r.snapshot)) ORDER BY n.relation), "
        # See `restored`: where it has been noticed, the newest refresh is made one that has seen nothing.
        f"r.snapshot::text = '1:1:' OR NOT {AT_HOME} "
        "FROM log.view_refresh AS r WHERE relation = %(name)s ORDER BY id DESC LIMIT 1",
        {
            "name": relation.name,
            "upstream": sorted(catalog.upstream(relation.name)),
            "sources": [source.table for source in SOURCES],
        },
    ).fetchone()
    if row is None:
        return None
    at, seconds, business_date, moved, news, restored = row
    return LastRefresh(at, seconds, business_date, news, moved and catalog.reads_business_date(relation.name), restored)


@dataclass(frozen=True)
class Staleness:
    """What waits to be refreshed.

    Args:
        views: the names of the views that aren't fresh.
        newest_note: the highest note's number, to tell one state from another; 0 if there is none.
        quiet_s: seconds since the newest note; None if there is none.
        waiting_s: seconds since the oldest note that waits to be rolled up; None if there is none.
    """

    views: list[str]
    newest_note: int
    quiet_s: float | None
    waiting_s: float | None


def read_staleness(connection: Connection, catalog: Catalog) -> Staleness:
    """Say which views would change by a refresh now, and for how long changes have been coming."""
    row = one_row(
        connection,
        "SELECT coalesce(max(id), 0), extract(epoch FROM clock_timestamp() - max(noted_at))::float, "
        "extract(epoch FROM clock_timestamp() - min(noted_at) FILTER (WHERE relation = ANY (%s)))::float "
        "FROM log.change_note",
        [[source.table for source in SOURCES]],
    )
    stale = [
        view.name
        for view in catalog.materialized_views
        if (last := last_refresh(connection, catalog, view)) is None or not last.fresh
    ]
    return Staleness(stale, *row)


def prune_change_log(connection: Connection, catalog: Catalog) -> int:
    """Delete the notes that every view downstream has seen; those on the sources' days are the rollup's to clear.

    Args:
        connection: in autocommit mode.
        catalog: the relations.

    Returns:
        The number of notes deleted; none while a migration builds views, which haven't seen them all.
    """
    if is_locked(connection, "migrate"):
        return 0
    reads = [(view.name, name) for view in catalog.materialized_views for name in sorted(catalog.upstream(view.name))]
    return connection.execute(
        "WITH reads AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS reads (view, relation)), "
        "newest AS MATERIALIZED (SELECT view, last.snapshot FROM (SELECT DISTINCT view FROM reads) AS views "
        "LEFT JOIN LATERAL (SELECT snapshot FROM log.view_refresh WHERE relation = view ORDER BY id DESC LIMIT 1) "
        "AS last ON true) "
        "DELETE FROM log.change_note AS n WHERE relation <> ALL (%s) AND NOT EXISTS ("
        "SELECT FROM reads JOIN newest USING (view) WHERE reads.relation = n.relation "
        "AND pg_visible_in_snapshot(n.xid, newest.snapshot) IS NOT TRUE)",
        [
            [view for view, _ in reads],
            [name for _, name in reads],
            [source.table for source in SOURCES],
        ],
    ).rowcount
