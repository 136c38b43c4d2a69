"""`watch`: one look for trouble from outside the daemon, so that somebody notices when the daemon itself is gone."""

from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import CommandError, read_catalog, session
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.database.dagster_storage import check_dagster_database
from mv_pipeline.definitions import defs
from mv_pipeline.operations.daemon_health import look_at_dagster
from mv_pipeline.operations.database_health import LOOKED_AT, look_at_plant
from mv_pipeline.operations.health import Look, is_ready, take_look
from mv_pipeline.operations.problem import Kind
from mv_pipeline.operations.unreachable import away, database_answers, database_is_away
from mv_pipeline.settings import TIME_ZONE, Settings


def watch(settings: Settings) -> Look:
    """Look once.

    Raises:
        CommandError: the database hasn't been migrated.
        psycopg.OperationalError: it can't be reached; who is to know has been told.
    """
    now, catalog = datetime.now(TIME_ZONE), read_catalog(settings)
    try:
        with session(), Database().connect("watch") as connection:
            database_answers(settings, catalog, now)
            return _look(connection, settings, catalog, now)
    except psycopg.OperationalError as error:
        database_is_away(settings, catalog, str(error).strip(), now)
        raise


def _look(connection: Connection, settings: Settings, catalog: Catalog, now: datetime) -> Look:
    if not is_ready(connection):
        raise CommandError("There is no table for incidents yet. Run `mv-pipeline migrate`.")
    plant = look_at_plant(connection, catalog, settings, now)
    try:
        check_dagster_database(settings)
    except psycopg.OperationalError as error:
        dagster, looked_at = (
            [away("dagster", str(error).strip(), now, catalog, settings)],
            frozenset({Kind.DATABASE_AWAY}),
        )
    else:
        with dg.DagsterInstance.get() as instance:
            dagster, looked_at = look_at_dagster(instance, defs().get_repository_def(), catalog, settings, now)
    return take_look(connection, settings, [*plant, *dagster], LOOKED_AT | looked_at, now)
