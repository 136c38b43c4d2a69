"""What the plant's database tells of views, change notes and the newest days.

It comes from logs, notes and rollups: nothing here reads a view or a staging line.
"""

import math
from collections.abc import Iterator
from datetime import date

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sources import SOURCES
from mv_pipeline.database.connection import APPLICATION, Connection
from mv_pipeline.refresh.counters import BUCKETS, REFRESH_FAILURES, REFRESH_SECONDS, read_counts
from mv_pipeline.refresh.views import read_staleness


def read_views(connection: Connection, catalog: Catalog) -> Iterator[Metric]:
    """Read everything about materialized views and what waits for them."""
    names = [view.name for view in catalog.materialized_views]
    info = GaugeMetricFamily("mv_view_info", "1 for each materialized view.", labels=["view", "criticality"])
    for view in catalog.materialized_views:
        info.add_metric([view.name, str(view.header.criticality)], 1)
    yield info
    yield _durations(connection, names)
    yield _failures(connection, names)
    yield from _newest_refreshes(connection, names)
    yield _running(connection, names)
    yield _staleness(connection, catalog)
    yield from _waiting_notes(connection)
    yield from _newest_days(connection)


def _durations(connection: Connection, names: list[str]) -> Metric:
    family = HistogramMetricFamily(
        "mv_refresh_duration_seconds", "Duration of refreshes, those that created the view included.", labels=["view"]
    )
    counts = read_counts(connection, REFRESH_SECONDS)
    for name in names:
        found = counts.get(name, {})
        family.add_metric(
            [name],
            [
                ("+Inf" if math.isinf(le) else str(le), sum(events for at, (events, _) in found.items() if at <= le))
                for le in BUCKETS
            ],
            sum(total for _, total in found.values()),
        )
    return family


def _failures(connection: Connection, names: list[str]) -> Metric:
    family = CounterMetricFamily("mv_refresh_failures", "Refreshes that failed after all retries.", labels=["view"])
    counts = read_counts(connection, REFRESH_FAILURES)
    for name in names:
        family.add_metric([name], sum(events for events, _ in counts.get(name, {}).values()))
    return family


def _newest_refreshes(connection: Connection, names: list[str]) -> Iterator[Metric]:
    success, attempt, failing, rows, size, lag = (
        GaugeMetricFamily(name, text, labels=["view"])
        for name, text in (
            ("mv_last_success_timestamp_seconds", "When the view was last refreshed."),
            ("mv_last_refresh_timestamp_seconds", "When the view was last refreshed, or a refresh last failed."),
            ("mv_view_failing", "1 if the newest refresh failed."),
            ("mv_view_rows", "Rows after the last refresh."),
            ("mv_view_size_bytes", "Size with indexes after the last refresh."),
            ("mv_view_business_date_lag_days", "Days by which the business date has moved since the last refresh."),
        )
    )
    newest = connection.execute(
        "SELECT name, extract(epoch FROM r.started_at)::float + r.seconds, extract(epoch FROM f.failed_at)::float, "
        "r.row_count, r.size_bytes, ref.business_date() - r.business_date FROM unnest(%s::text[]) AS name "
        "CROSS JOIN LATERAL (SELECT * FROM log.view_refresh WHERE relation = name ORDER BY id DESC LIMIT 1) AS r "
        "LEFT JOIN LATERAL (SELECT failed_at FROM log.refresh_failure WHERE relation = name "
        "ORDER BY id DESC LIMIT 1) AS f ON true",
        [names],
    )
    for name, succeeded, failed, row_count, size_bytes, days in newest:
        success.add_metric([name], succeeded)
        attempt.add_metric([name], max(succeeded, failed or succeeded))
        failing.add_metric([name], failed is not None and failed > succeeded)
        rows.add_metric([name], row_count)
        size.add_metric([name], size_bytes)
        lag.add_metric([name], days)
    yield from (success, attempt, failing, rows, size, lag)


def _running(connection: Connection, names: list[str]) -> Metric:
    family = GaugeMetricFamily(
        "mv_refresh_running_seconds",
        "For how long a refresh of the view has been running; 0 if none is.",
        labels=["view"],
    )
    # Connections say what they are for, see `Database.open`.
    running = connection.execute(
        "SELECT name, coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float "
        "FROM unnest(%s::text[]) AS name LEFT JOIN pg_stat_activity "
        "ON datname = current_database() AND application_name = left(%s || ' refresh ' || name, 63) GROUP BY name",
        [names, APPLICATION],
    )
    for name, seconds in running:
        family.add_metric([name], seconds)
    return family


def _staleness(connection: Connection, catalog: Catalog) -> Metric:
    family = GaugeMetricFamily("mv_view_stale", "1 if a refresh now would find something new.", labels=["view"])
    stale = read_staleness(connection, catalog).views
    for view in catalog.materialized_views:
        family.add_metric([view.name], view.name in stale)
    return family


def _waiting_notes(connection: Connection) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "mv_change_notes_waiting",
        "Change notes that wait to be rolled up, by the table that changed.",
        labels=["table"],
    )
    age = GaugeMetricFamily(
        "mv_change_notes_oldest_age_seconds",
        "Age of the oldest waiting change note; 0 if none waits.",
        labels=["table"],
    )
    notes = connection.execute(
        "SELECT name, count(n.id), coalesce(extract(epoch FROM clock_timestamp() - min(n.noted_at)), 0)::float "
        "FROM unnest(%s::text[]) AS name LEFT JOIN log.change_note AS n ON n.relation = name "
        "GROUP BY name ORDER BY name",
        [[source.table for source in SOURCES]],
    )
    for table, count, seconds in notes:
        waiting.add_metric([table], count)
        age.add_metric([table], seconds)
    yield from (waiting, age)


def _newest_days(connection: Connection) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "mv_newest_day_age_days",
        "Calendar days from a source's newest day with lines to the business date; days to come don't count.",
        labels=["list", "source"],
    )
    behind = GaugeMetricFamily(
        "mv_business_days_behind",
        "Business days after a list's newest day with lines and before the business date.",
        labels=["list"],
    )
    newest = connection.execute(
        "SELECT csv_type, source, ref.business_date() - day, day "
        "FROM unnest(%s::text[], %s::text[]) AS s (csv_type, source) CROSS JOIN LATERAL ("
        "SELECT max(ddate) AS day FROM mart.rollup_daily AS r "
        "WHERE r.csv_type = s.csv_type AND r.source = s.source AND ddate <= ref.business_date()) AS r "
        "WHERE day IS NOT NULL",
        [[source.csv_type for source in SOURCES], [source.source for source in SOURCES]],
    ).fetchall()
    days: dict[str, date] = {}
    for csv_type, source, days_ago, day in newest:
        age.add_metric([csv_type, source], days_ago)
        days[csv_type] = max(day, days.get(csv_type, day))
    missing = connection.execute(
        "SELECT name, count(c.ddate) FROM unnest(%s::text[], %s::date[]) AS s (name, day) "
        "LEFT JOIN ref.v_calendar_classified AS c ON c.is_business AND c.ddate > day AND c.ddate < ref.business_date() "
        "GROUP BY name",
        [list(days), list(days.values())],
    )
    for csv_type, count in missing:
        behind.add_metric([csv_type], count)
    yield from (age, behind)
