"""What the sensor `alerts` does. What can be seen only from outside the daemon, `mv-pipeline watch` sees."""

from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.settings import TIME_ZONE, load_settings


def report_problems(catalog: Catalog, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None) -> str:
    """Inspect everything, tell people what is new, and say in a sentence what was found."""
    # Each run is a new process that loads the sensors too; it needn't wait for what sends messages.
    from mv_pipeline.operations.daemon_health import inspect_dagster
    from mv_pipeline.operations.database_health import INSPECTED, inspect_warehouse
    from mv_pipeline.operations.health import is_ready, update_incidents

    settings, now = load_settings(), datetime.now(TIME_ZONE)
    if repository is None:
        return "The definitions aren't there."
    try:
        with Database().connect("alerts") as connection:
            if not is_ready(connection):
                return "There is no table for incidents yet. Run `mv-pipeline migrate`."
            warehouse = inspect_warehouse(connection, catalog, settings, now)
            dagster, inspected = inspect_dagster(instance, repository, catalog, settings, now)
            return str(update_incidents(connection, settings, [*warehouse, *dagster], INSPECTED | inspected, now))
    except psycopg.OperationalError as error:
        return f"The database can't be reached: {str(error).strip()}"
