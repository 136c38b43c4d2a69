"""The schedules: the nightly run, and the overview. What their runs do is the jobs' business."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database, describe_unreachable, one_row
from mv_pipeline.defs.jobs import NIGHTLY, OVERVIEW, own_tags, retry_delay_s
from mv_pipeline.intake.upload_log import newest_due_day
from mv_pipeline.settings import TIME_ZONE

_SHOWN = "mv_pipeline/shown"
_FIRST_RETRY_S = 600
_LONGEST_RETRY_S = 6 * 3600

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
    own = own_tags()

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
                    "SELECT ref.business_date(), (SELECT coalesce(max(id), 0) FROM log.upload_file), "
                    "(SELECT coalesce(max(id), 0) FROM log.view_refresh "
                    "WHERE relation = ANY (%s) AND rows_inserted + rows_deleted > 0)",
                    [[view.name for view in catalog.materialized_views]],
                )
                due = newest_due_day(connection)
        except psycopg.OperationalError as error:
            return dg.SkipReason(describe_unreachable(error))
        shown = " ".join(map(str, (*state, due)))
        # A schedule's run_key is unique within one tick only, so the runs there have been are asked.
        records = context.instance.get_run_records(dg.RunsFilter(job_name=OVERVIEW, tags={**own, _SHOWN: shown}))
        reason = _reason_to_skip(records, context.scheduled_execution_time)
        return dg.SkipReason(reason) if reason else dg.RunRequest(tags={_SHOWN: shown})

    return overview


def _reason_to_skip(records: Sequence[dg.RunRecord], now: datetime) -> str | None:
    """Why a state needs no run now: it was shown, it is just being shown, or a failed run isn't repeated yet.

    Args:
        records: the runs that were to show the state, the newest first.
        now: aware.
    """
    if not records:
        return None
    newest = records[0]
    run = f"Run {newest.dagster_run.run_id}"
    if newest.dagster_run.status is dg.DagsterRunStatus.SUCCESS:
        return f"Nothing has changed since the pages were renewed. {run} did so."
    if newest.end_time is None:
        return f"{run} is renewing the pages."
    due = newest.end_time + retry_delay_s(len(records), _FIRST_RETRY_S, _LONGEST_RETRY_S)
    if now.timestamp() >= due:
        return None
    ended = newest.dagster_run.status.value.lower()
    at = datetime.fromtimestamp(due, TIME_ZONE)
    return f"{run} ended as {ended}; it is repeated after {at:%Y-%m-%d %H:%M} (Asia/Tokyo), or when data changes."
