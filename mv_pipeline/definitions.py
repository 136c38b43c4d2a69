"""Puts the code location together; no logic lives here."""

import dagster as dg

from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.defs import assets, checks, jobs, schedules, sensors
from mv_pipeline.defs.assets.retention import build_retention_asset
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.operations.alerts_sensor import report_problems
from mv_pipeline.operations.retention import apply_retention
from mv_pipeline.operations.run_life import database_resource
from mv_pipeline.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that Dagster is to know."""
    catalog = load_catalog(load_settings().sql_dir, picture_names())
    return dg.Definitions(
        assets=[*assets.build_assets(catalog), build_retention_asset(lambda *given: apply_retention(*given).result)],
        asset_checks=checks.build_checks(catalog),
        jobs=jobs.build_jobs(catalog).jobs,
        sensors=sensors.build_sensors(catalog, report_problems),
        schedules=[schedules.nightly_schedule, schedules.build_overview_schedule(catalog)],
        resources={"database": database_resource},
        executor=dg.in_process_executor,
    )
