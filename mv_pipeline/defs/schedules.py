"""The schedules: the night, and the overview. What their runs do is the jobs' business."""

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database, one_row
from mv_pipeline.defs.jobs import NIGHTLY, OVERVIEW
from mv_pipeline.settings import TIME_ZONE, load_settings

_SHOWN = "mv_pipeline/shown"

nightly_schedule = dg.ScheduleDefinition(
    name="nightly",
    job_name=NIGHTLY,
    cron_schedule="10 0 * * *",
    execution_timezone=str(TIME_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="00:10 Asia/Tokyo: the business date has moved.",
)


def build_overview_schedule(catalog: Catalog) -> dg.ScheduleDefinition:
    """Make the schedule that renews what people look at, once for each state of the database."""

    @dg.schedule(
        name="overview",
        job_name=OVERVIEW,
        cron_schedule="*/5 * * * *",
        execution_timezone=str(TIME_ZONE),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Renews upload calendar, previews and pictures after a change, and when yesterday's files are due.",
    )
    def overview(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            with Database().connect("schedule overview") as connection:
                state = one_row(
                    connection,
                    "SELECT ref.business_date(), extract(hour FROM localtime) >= %s, "
                    "(SELECT coalesce(max(id), 0) FROM log.upload_file), (SELECT coalesce(max(id), 0) "
                    "FROM log.view_refresh WHERE relation = ANY (%s) AND rows_inserted + rows_deleted > 0)",
                    [load_settings().files_due_hour, [view.name for view in catalog.materialized_views]],
                )
        except psycopg.OperationalError as error:
            return dg.SkipReason(f"The database can't be reached: {str(error).strip()}")
        shown = " ".join(map(str, state))
        # A schedule's run_key is unique within one tick only, so the runs there have been are asked.
        if context.instance.get_runs(dg.RunsFilter(job_name=OVERVIEW, tags={_SHOWN: shown}), limit=1):
            return dg.SkipReason("Nothing has changed since the pages were renewed.")
        return dg.RunRequest(tags={_SHOWN: shown})

    return overview
