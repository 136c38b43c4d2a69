"""`watch`: one inspection from outside the daemon, so that somebody notices when the daemon itself is gone."""

from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import CommandError, read_catalog, session
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.database.dagster_storage import check_dagster_database
from mv_pipeline.definitions import defs
from mv_pipeline.operations.daemon_health import inspect_dagster
from mv_pipeline.operations.database_health import INSPECTED, inspect_warehouse
from mv_pipeline.operations.health import IncidentUpdate, is_ready, update_incidents
from mv_pipeline.operations.problem import ProblemType
from mv_pipeline.operations.unreachable import report_reachable, report_unreachable, unreachable_database
from mv_pipeline.settings import TIME_ZONE, Settings


def watch(settings: Settings) -> IncidentUpdate:
    """Inspect once.

    Raises:
        CommandError: the database hasn't been migrated.
        psycopg.OperationalError: it can't be reached; who is to know has been told.
    """
    now, catalog = datetime.now(TIME_ZONE), read_catalog(settings)
    try:
        with session(), Database().connect("watch") as connection:
            report_reachable(settings, catalog, now)
            return _inspect(connection, settings, catalog, now)
    except psycopg.OperationalError as error:
        report_unreachable(settings, catalog, str(error).strip(), now)
        raise


def _inspect(connection: Connection, settings: Settings, catalog: Catalog, now: datetime) -> IncidentUpdate:
    if not is_ready(connection):
        raise CommandError("There is no table for incidents yet. Run `mv-pipeline migrate`.")
    warehouse = inspect_warehouse(connection, catalog, settings, now)
    try:
        check_dagster_database(settings)
    except psycopg.OperationalError as error:
        dagster, inspected = (
            [unreachable_database("dagster", str(error).strip(), now, catalog, settings)],
            frozenset({ProblemType.DATABASE_UNREACHABLE}),
        )
    else:
        with dg.DagsterInstance.get() as instance:
            dagster, inspected = inspect_dagster(instance, defs().get_repository_def(), catalog, settings, now)
    return update_incidents(connection, settings, [*warehouse, *dagster], INSPECTED | inspected, now)
