"""One scrape: both databases read once, and whether each could be."""

from collections.abc import Callable, Iterator
from functools import cached_property

import dagster as dg
import psycopg
from dagster_postgres.utils import DagsterPostgresException
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.operations.logging import logger
from mv_pipeline.operations.metrics.storage import read_storage
from mv_pipeline.operations.metrics.uploads import read_uploads
from mv_pipeline.operations.metrics.views import read_views


class PlantCollector(Collector):
    """Reads all metrics anew at each scrape; a database that can't be read leaves its metrics out and says so.

    Args:
        database: the plant's.
        catalog: the relations.
        open_instance: gives Dagster's instance.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        open_instance: Callable[[], dg.DagsterInstance] = dg.DagsterInstance.get,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._open_instance = open_instance

    @cached_property
    def _instance(self) -> dg.DagsterInstance:
        # Opened at the first scrape that finds Dagster's database there.
        return self._open_instance()

    def describe(self) -> list[Metric]:
        """Nothing: names are only known from a scrape, and no other collector is beside this one."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read both databases."""
        up = GaugeMetricFamily("mv_source_up", "1 if the database could be read at this scrape.", labels=["source"])
        for source, read in (("plant", self._read_plant), ("dagster", self._read_dagster)):
            try:
                found = read()
            except (psycopg.Error, SQLAlchemyError, DagsterPostgresException) as error:
                logger.error("The database “%s” can't be read: %s", source, str(error).strip())
                up.add_metric([source], 0)
            else:
                up.add_metric([source], 1)
                yield from found
        yield up

    def _read_plant(self) -> list[Metric]:
        with self._database.open("metrics") as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # As itself, not as a role that it takes, a user sees since when its own other sessions have been working.
            connection.execute("SET LOCAL ROLE NONE")
            # Shorter than the ten seconds after which Prometheus gives a scrape up.
            connection.execute("SET LOCAL statement_timeout = '5s'")
            return [*read_views(connection, self._catalog), *read_uploads(connection)]

    def _read_dagster(self) -> list[Metric]:
        return list(read_storage(self._instance, self._catalog))
