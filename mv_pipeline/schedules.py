"""The nightly schedule. What the night's run does is the job's business."""

import dagster as dg

from mv_pipeline.jobs import NIGHTLY
from mv_pipeline.settings import TIME_ZONE

nightly_schedule = dg.ScheduleDefinition(
    name="nightly",
    job_name=NIGHTLY,
    cron_schedule="10 0 * * *",
    execution_timezone=str(TIME_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="00:10 Asia/Tokyo: the business date has moved.",
)
