"""Prometheus metrics, read from the databases at each scrape, so that they are the same after a restart.

What each one means is in docs/metrics.md; metrics.yaml declares them, with the queries of those that one query gives.
Nothing is counted in memory, nothing is written, and no view or staging line is read. `mv-pipeline metrics` runs this
module.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import psycopg
import yaml
from dagster_postgres.utils import DagsterPostgresException
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from psycopg import sql
from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import APPLICATION, Database
from mv_pipeline.defs.checks import check_keys
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.intake.upload_log import UPLOADS, missing_days
from mv_pipeline.operations.dagster_private import newest_check_results
from mv_pipeline.operations.health import HEALTH_CHECKS
from mv_pipeline.operations.installation import heartbeat_ages
from mv_pipeline.operations.logging import configure_logs, logger
from mv_pipeline.refresh.counters import BUCKETS, REFRESH_FAILURES, REFRESH_SECONDS
from mv_pipeline.settings import HOST, TIME_ZONE, load_settings

_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}


class Group(BaseModel):
    """Metrics that come from the same rows: each row holds the labels' values, then a value for each metric.

    Args:
        labels: names of the labels.
        metrics: type and help of each, by name; where a row holds None, that metric has no sample. A histogram's value
            is the list of its buckets, each with its upper bound and a cumulative count, and the sum.
        query: gives the rows, with the parameters of `_parameters`; empty where Python makes them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...]
    metrics: dict[str, tuple[Literal["gauge", "counter", "histogram"], str]]
    query: str = ""

    def families(self, rows: Iterable[Sequence[Any]]) -> list[Metric]:
        """The metrics with a sample for each row."""
        families = [
            _FAMILIES[metric_type](name, text, labels=self.labels) for name, (metric_type, text) in self.metrics.items()
        ]
        for row in rows:
            labels, values = row[: len(self.labels)], row[len(self.labels) :]
            for family, value in zip(families, values, strict=True):
                if value is not None:
                    family.add_metric(labels, *(value if isinstance(value, list) else [value]))
        return list(families)


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
        # Opened at the first scrape that can reach Dagster's database.
        self._instance = cache(open_instance)
        declared = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
        self._groups = TypeAdapter(dict[str, Group]).validate_python(declared)

    def collect(self) -> Iterator[Metric]:
        """Read both databases."""
        sources = {"plant": self._read_warehouse, "dagster": self._read_dagster}
        up = dict.fromkeys(sources, 1)
        for source, read in sources.items():
            try:
                yield from read()
            except (psycopg.Error, SQLAlchemyError, DagsterPostgresException) as error:
                logger.error("The database “%s” can't be read: %s", source, str(error).strip())
                up[source] = 0
        yield from self._groups["sources"].families(up.items())

    def _read_warehouse(self) -> list[Metric]:
        with self._database.transaction("metrics") as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # As itself, not as a role that it takes, a user sees since when its own other sessions have been working.
            connection.execute("SET LOCAL ROLE NONE")
            # Shorter than the ten seconds after which Prometheus gives a scrape up.
            connection.execute("SET LOCAL statement_timeout = '5s'")
            parameters = _parameters(self._catalog)
            days = [(name, len(missing)) for name, missing in missing_days(connection).items()]
            metrics = self._groups["missing_days"].families(days)
            for group in self._groups.values():
                if group.query:
                    query = sql.SQL(group.query).format(uploads=UPLOADS)  # the file's own SQL
                    metrics += group.families(connection.execute(query, parameters))
            return metrics

    def _read_dagster(self) -> list[Metric]:
        instance = self._instance()
        results = [
            (".".join(result.asset_key.path), result.check_name, result.severity.value, result.passed, event.timestamp)
            for result, event in newest_check_results(instance, check_keys(self._catalog))
        ]
        ages = heartbeat_ages(instance, datetime.now(TIME_ZONE))
        return [*self._groups["checks"].families(results), *self._groups["daemons"].families(ages.items())]


def _parameters(catalog: Catalog) -> dict[str, Any]:
    """What the queries have a sample for, whether or not the database has a row for it."""
    return {
        "application": APPLICATION,
        "failures": REFRESH_FAILURES,
        "durations": REFRESH_SECONDS,
        "upper_bounds": list(BUCKETS),
        "bound_names": [str(bound).replace("inf", "+Inf") for bound in BUCKETS],
        "views": [view.name for view in catalog.materialized_views],
        "criticalities": [str(view.header.criticality) for view in catalog.materialized_views],
        "rollups": [rollup.name for rollup in catalog.rollups],
        "stored": [rollup.stored for rollup in catalog.rollups],
        "kinds": [kind.name for kind in KINDS],
        "codes": list(MESSAGES),
        "problem_types": [found for found, check in HEALTH_CHECKS.items() if check.is_told],
    }


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = load_settings()
    configure_logs(settings)
    # Blocked before the server's threads begin, which inherit it: only `sigwait` takes them.
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    registry = CollectorRegistry()
    registry.register(MetricsCollector(Database(), load_catalog(settings.sql_dir)))
    server, thread = start_http_server(settings.metrics_port, HOST, registry)
    logger.info("Metrics are served on http://%s:%s/metrics", HOST, settings.metrics_port)
    signal.sigwait(stop)
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    main()
