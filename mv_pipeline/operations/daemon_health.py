"""What Dagster's storage says is wrong: failing or missing ticks, a daemon that is gone, and what `run_health` finds.

Dagster calls no hook for most of these, so Dagster's storage is inspected. Nothing is written.
"""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.operations.dagster_private import last_due
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
from mv_pipeline.settings import Settings

Automation = dg.SensorDefinition | dg.ScheduleDefinition

_TICKS = 5


def heartbeat_ages(instance: dg.DagsterInstance, now: datetime) -> dict[str, float]:
    """Seconds since the last heartbeat of each part of the daemon; infinite: there has never been one."""
    beats = instance.get_daemon_heartbeats()
    return {
        name: now.timestamp() - beats[name].timestamp if name in beats else math.inf
        for name in sorted(instance.get_required_daemon_types())
    }


def gone_daemon(
    instance: dg.DagsterInstance, catalog: Catalog, settings: Settings, now: datetime
) -> Iterator[HealthProblem]:
    """The daemon, if a part of it has given no sign of life for a while or never did."""
    ages = heartbeat_ages(instance, now)
    gone = {name: age for name, age in ages.items() if age > DAEMON_SILENT_S}
    if gone:
        newest = min(gone.values())
        never = math.isinf(newest)
        # Nobody has put it into service yet.
        unborn = never and gone == ages
        yield HealthProblem.of(
            ProblemType.DAEMON_GONE,
            "daemon",
            settings,
            now if never else now - timedelta(seconds=newest),
            level="warning" if unborn else "failure",
            what="The daemon has never run"
            if unborn
            else "The daemon is gone"
            if gone == ages
            else f"Parts of the daemon are gone: {', '.join(gone)}",
            last="It has never given a sign of life." if never else f"Its last sign of life is {newest:,.0f} s old.",
            dashboards=every_dashboard(catalog),
        )


def failing_ticks(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    catalog: Catalog,
    settings: Settings,
    now: datetime,
) -> Iterator[HealthProblem]:
    """The sensors and schedules whose newest tick failed, that are switched off, or that have stopped ticking."""
    definitions = _automations(repository)
    for state in instance.all_instigator_state():
        name = state.instigator_name
        if name not in definitions:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS)
        last = local_time(ticks[0].timestamp) if ticks else None
        ended = next((tick for tick in ticks if tick.is_completed), None)
        happened = f"Its last tick was at {last:%Y-%m-%d %H:%M:%S}." if last else "It has never ticked."
        since = last or now
        # Only a schedule knows when it was switched on.
        begun = getattr(state.instigator_data, "start_timestamp", None)
        if not state.is_running:
            problem_type = ProblemType.SWITCHED_OFF
        elif _is_late(definitions[name], max(last.timestamp() if last else 0.0, begun or 0.0), now):
            problem_type = ProblemType.TICKS_STOPPED
        elif ended and ended.is_failure:
            problem_type, since = ProblemType.TICK_FAILED, local_time(ended.timestamp)
            happened = first_line(ended.error.message if ended.error else None)
        else:
            continue
        yield HealthProblem.of(
            problem_type,
            name,
            settings,
            since,
            what="schedule" if isinstance(definitions[name], dg.ScheduleDefinition) else "sensor",
            happened=happened,
            means=_undone(repository, catalog, definitions[name]),
        )


def _automations(repository: dg.RepositoryDefinition) -> dict[str, Automation]:
    """The sensors and schedules by name."""
    definitions: list[Automation] = [*repository.sensor_defs, *repository.schedule_defs]
    return {definition.name: definition for definition in definitions}


def _undone(repository: dg.RepositoryDefinition, catalog: Catalog, definition: Automation) -> str:
    """What isn't done without the sensor or schedule, and where that shows."""
    undone = f"This isn't done: {definition.description}"
    targets = [definition.target] if isinstance(definition, dg.ScheduleDefinition) else definition.targets
    jobs = [repository.get_job(target.job_name) for target in targets]
    names = {".".join(key.path) for job in jobs for key in job.asset_layer.executable_asset_keys}
    if names.isdisjoint(catalog.relations):
        return undone
    return f"{undone} Older rows may be shown in: {shown_in(catalog, *names)}"


def _is_late(definition: Automation, last: float, now: datetime) -> bool:
    """True if a tick should have come since the last one; of what has never begun to tick, nothing is known.

    Args:
        last: when it ticked or was switched on; 0: never.
        now: aware.
    """
    if isinstance(definition, dg.ScheduleDefinition):
        return 0 < last < last_due(definition, now - SCHEDULE_LATE).timestamp()
    return 0 < last < now.timestamp() - SENSOR_LATE_S
