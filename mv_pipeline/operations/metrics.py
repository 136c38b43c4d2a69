"""Prometheus metrics, read from the databases at each scrape, so that they are the same after a restart.

What each one means is in docs/metrics.md; those that one query gives are declared in metrics.yaml. Nothing is counted
in memory, nothing is written, and no view or staging line is read. `mv-pipeline metrics` runs this module.
"""

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import dagster as dg
import psycopg
import yaml
from dagster_postgres.utils import DagsterPostgresException
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog, load_catalog
from mv_pipeline.catalog.tables import SOURCES
from mv_pipeline.database.connection import APPLICATION, Connection, Database
from mv_pipeline.defs.checks import check_keys
from mv_pipeline.intake.rejection import Code
from mv_pipeline.intake.upload_log import missing_days
from mv_pipeline.operations.daemon_health import heartbeat_ages
from mv_pipeline.operations.dagster_private import newest_check_results
from mv_pipeline.operations.logging import configure_logs, logger
from mv_pipeline.refresh.counters import BUCKETS, REFRESH_FAILURES, REFRESH_SECONDS, read_counts
from mv_pipeline.refresh.views import read_staleness
from mv_pipeline.settings import HOST, TIME_ZONE, load_settings

_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


class Group(BaseModel):
    """Metrics that come from the same rows: each row holds the labels' values, then a number for each metric.

    Args:
        labels: names of the labels.
        metrics: type and help of each, by name; where a row holds None, that metric has no sample.
        query: gives the rows, with the parameters of `_parameters`; empty where Python makes them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...]
    metrics: dict[str, tuple[Literal["gauge", "counter"], str]]
    query: str = ""

    def families(self, rows: Iterable[Sequence[Any]]) -> list[Metric]:
        """The metrics with a sample for each row."""
        families = [_FAMILIES[kind](name, text, labels=self.labels) for name, (kind, text) in self.metrics.items()]
        for row in rows:
            labels, numbers = row[: len(self.labels)], row[len(self.labels) :]
            for family, number in zip(families, numbers, strict=True):
                if number is not None:
                    family.add_metric(labels, number)
        return list(families)


STALE = Group(labels=("view",), metrics={"mv_view_stale": ("gauge", "1 if a refresh now would find something new.")})
BEHIND_TEXT = "Business days of the last two weeks that have no line although their files are due."
BEHIND = Group(labels=("list",), metrics={"mv_business_days_behind": ("gauge", BEHIND_TEXT)})
CHECKS = Group(
    labels=("asset", "check", "severity"),
    metrics={
        "mv_check_passed": ("gauge", "1 if the newest result of a check was good, else 0."),
        "mv_check_timestamp_seconds": ("gauge", "When a check last gave a result."),
    },
)
DAEMON_TEXT = "Time since a part of the daemon was alive; +Inf: never."
DAEMONS = Group(labels=("daemon",), metrics={"mv_daemon_heartbeat_age_seconds": ("gauge", DAEMON_TEXT)})
UP_TEXT = "1 if the database could be read at this scrape."
UP = Group(labels=("source",), metrics={"mv_source_up": ("gauge", UP_TEXT)})


class MetricsCollector(Collector):
    """Reads all metrics anew at each scrape; a database that can't be read leaves its metrics out and says so."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        open_instance: Callable[[], dg.DagsterInstance] = dg.DagsterInstance.get,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._open_instance = open_instance
        queries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
        self._groups = TypeAdapter(list[Group]).validate_python(queries)

    @cached_property
    def _instance(self) -> dg.DagsterInstance:
        # Opened at the first scrape that can reach Dagster's database.
        return self._open_instance()

    def describe(self) -> list[Metric]:
        """Nothing: names are only known from a scrape, and the registry holds no other collector."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read both databases."""
        up = {}
        for source, read in (("plant", self._read_warehouse), ("dagster", self._read_dagster)):
            try:
                metrics = read()
            except (psycopg.Error, SQLAlchemyError, DagsterPostgresException) as error:
                logger.error("The database “%s” can't be read: %s", source, str(error).strip())
                up[source] = 0
            else:
                up[source] = 1
                yield from metrics
        yield from UP.families(up.items())

    def _read_warehouse(self) -> list[Metric]:
        with self._database.open("metrics") as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # As itself, not as a role that it takes, a user sees since when its own other sessions have been working.
            connection.execute("SET LOCAL ROLE NONE")
            # Shorter than the ten seconds after which Prometheus gives a scrape up.
            connection.execute("SET LOCAL statement_timeout = '5s'")
            parameters = _parameters(self._catalog)
            stale = read_staleness(connection, self._catalog).views
            return [
                *(m for group in self._groups for m in group.families(connection.execute(group.query, parameters))),
                *STALE.families((name, name in stale) for name in parameters["views"]),
                *BEHIND.families(_business_days_behind(connection)),
                _refresh_durations(connection, parameters["views"]),
            ]

    def _read_dagster(self) -> list[Metric]:
        instance = self._instance
        results = [
            (
                ".".join(r.key.asset_key.path),
                r.key.name,
                r.evaluation.severity.value,
                r.evaluation.passed,
                r.event.timestamp,
            )
            for r in newest_check_results(instance, check_keys(self._catalog))
            if r.evaluation and r.event
        ]
        ages = heartbeat_ages(instance, datetime.now(TIME_ZONE))
        return [*CHECKS.families(results), *DAEMONS.families(ages.items())]


def _parameters(catalog: Catalog) -> dict[str, Any]:
    """What the queries have a sample for, whether or not the database has a row for it."""
    return {
        "application": APPLICATION,
        "failures": REFRESH_FAILURES,
        "views": [view.name for view in catalog.materialized_views],
        "criticalities": [str(view.header.criticality) for view in catalog.materialized_views],
        "tables": [source.table for source in SOURCES],
        "lists": [source.csv_type for source in SOURCES],
        "sources": [source.source for source in SOURCES],
        "kinds": [kind.name for kind in KINDS],
        "versions": [kind.version.upper() for kind in KINDS],
        "csv_types": [kind.list.csv_type for kind in KINDS],
        "codes": list(Code),
    }


def _business_days_behind(connection: Connection) -> list[tuple[str, int]]:
    return [(name, len(days)) for name, days in missing_days(connection).items()]


def _refresh_durations(connection: Connection, views: list[str]) -> Metric:
    family = HistogramMetricFamily(
        "mv_refresh_duration_seconds", "Duration of refreshes, those that created the view included.", labels=["view"]
    )
    counts = read_counts(connection, REFRESH_SECONDS)
    for view in views:
        buckets = counts.get(view, {})
        cumulative = [sum(events for bound, (events, _) in buckets.items() if bound <= le) for le in BUCKETS]
        bounds = ["+Inf" if math.isinf(le) else str(le) for le in BUCKETS]
        family.add_metric(
            [view], list(zip(bounds, cumulative, strict=True)), sum(total for _, total in buckets.values())
        )
    return family


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = load_settings()
    configure_logs(settings)
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is the system's
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    registry = CollectorRegistry()
    registry.register(MetricsCollector(Database(), load_catalog(settings.sql_dir)))
    server, thread = start_http_server(settings.metrics_port, HOST, registry)
    logger.info("Metrics are served on http://%s:%s/metrics", HOST, settings.metrics_port)
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    main()
