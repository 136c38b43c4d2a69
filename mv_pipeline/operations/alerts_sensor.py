"""The sensor that looks for trouble. What can be seen only from outside the daemon, `mv-pipeline watch` sees."""

from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.settings import TIME_ZONE, load_settings

_EVERY_S = 30


def build_alerts_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the sensor; it is on by default and starts no run."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for trouble, and tells people when it begins and when it is over.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # Each run is a new process that loads the sensors too; it needn't wait for what sends messages.
        from mv_pipeline.operations.daemon_health import look_at_dagster
        from mv_pipeline.operations.database_health import LOOKED_AT, look_at_plant
        from mv_pipeline.operations.health import is_ready, take_look

        settings, now = load_settings(), datetime.now(TIME_ZONE)
        if context.repository_def is None:
            return dg.SkipReason("The definitions aren't there.")
        try:
            with Database().connect("alerts") as connection:
                if not is_ready(connection):
                    return dg.SkipReason("There is no table for incidents yet. Run `mv-pipeline migrate`.")
                plant = look_at_plant(connection, catalog, settings, now)
                dagster, looked_at = look_at_dagster(context.instance, context.repository_def, catalog, settings, now)
                return dg.SkipReason(
                    str(take_look(connection, settings, [*plant, *dagster], LOOKED_AT | looked_at, now))
                )
        except psycopg.OperationalError as error:
            return dg.SkipReason(f"The database can't be reached: {str(error).strip()}")

    return alerts
