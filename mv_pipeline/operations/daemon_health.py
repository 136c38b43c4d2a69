"""What is wrong with what runs by itself: a daemon that is gone, sensors and schedules that don't tick or fail.

Dagster calls no hook for most of these, so Dagster's storage is inspected. Nothing is written.
"""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg

from mv_pipeline.operations.dagster_private import last_due
from mv_pipeline.operations.installation import Installation, heartbeat_ages
from mv_pipeline.operations.problem import (
    DAEMON_SILENT_S,
    SCHEDULE_LATE,
    SENSOR_LATE_S,
    HealthProblem,
    ProblemType,
    every_dashboard,
    shown_in,
)
from mv_pipeline.operations.run_health import first_line, local_time

Automation = dg.SensorDefinition | dg.ScheduleDefinition


def gone_daemon(of: Installation) -> Iterator[HealthProblem]:
    """The daemon, if a part of it has given no sign of life for a while or never did."""
    ages = heartbeat_ages(of.instance, of.now)
    gone = {name: age for name, age in ages.items() if age > DAEMON_SILENT_S}
    if not gone:
        return
    newest = min(gone.values())
    never = math.isinf(newest)
    what = "The daemon is gone" if gone == ages else f"Parts of the daemon are gone: {', '.join(gone)}"
    # Nobody has put it into service yet.
    if never and gone == ages:
        what = "The daemon has never run"
    yield HealthProblem.of(
        ProblemType.DAEMON_GONE,
        "daemon",
        of.settings,
        of.now if never else of.now - timedelta(seconds=newest),
        level="warning" if never and gone == ages else "failure",
        what=what,
        last="It has never given a sign of life." if never else f"Its last sign of life is {newest:,.0f} s old.",
        dashboards=every_dashboard(of.catalog),
    )


def failing_ticks(of: Installation) -> Iterator[HealthProblem]:
    """The sensors and schedules that are switched off, that have stopped ticking, or whose newest tick failed."""
    definitions: list[Automation] = [*of.repository.sensor_defs, *of.repository.schedule_defs]
    by_name = {definition.name: definition for definition in definitions}
    for state, ticks in of.automations:
        definition = by_name.get(state.instigator_name)
        if definition is None:
            continue
        last = local_time(ticks[0].timestamp) if ticks else None
        ended = next((tick for tick in ticks if tick.is_completed), None)
        happened = f"Its last tick was at {last:%Y-%m-%d %H:%M:%S}." if last else "It has never ticked."
        since = last or of.now
        # Only a schedule knows when it was switched on.
        begun = getattr(state.instigator_data, "start_timestamp", None)
        if not state.is_running:
            problem_type = ProblemType.SWITCHED_OFF
        elif _is_late(definition, max(last.timestamp() if last else 0.0, begun or 0.0), of.now):
            problem_type = ProblemType.TICKS_STOPPED
        elif ended and ended.is_failure:
            problem_type = ProblemType.TICK_FAILED
            since = local_time(ended.timestamp)
            happened = first_line(ended.error.message if ended.error else None)
        else:
            continue
        yield HealthProblem.of(
            problem_type,
            definition.name,
            of.settings,
            since,
            what="schedule" if isinstance(definition, dg.ScheduleDefinition) else "sensor",
            happened=happened,
            means=_undone(of, definition),
        )


def _undone(of: Installation, definition: Automation) -> str:
    """What isn't done without the sensor or schedule, and where that shows."""
    undone = f"This isn't done: {definition.description}"
    targets = [definition.target] if isinstance(definition, dg.ScheduleDefinition) else definition.targets
    jobs = [of.repository.get_job(target.job_name) for target in targets]
    names = {".".join(key.path) for job in jobs for key in job.asset_layer.executable_asset_keys}
    if names.isdisjoint(of.catalog.relations):
        return undone
    return f"{undone} Older rows may be shown in: {shown_in(of.catalog, *names)}"


def _is_late(definition: Automation, last: float, now: datetime) -> bool:
    """True if a tick should have come since the last one; of what has never begun to tick, nothing is known.

    Args:
        last: when it ticked or was switched on; 0: never.
        now: aware.
    """
    if isinstance(definition, dg.ScheduleDefinition):
        return 0 < last < last_due(definition, now - SCHEDULE_LATE).timestamp()
    return 0 < last < now.timestamp() - SENSOR_LATE_S
