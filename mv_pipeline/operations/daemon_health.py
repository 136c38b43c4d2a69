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
from mv_pipeline.operations.run_health import RunHealth, first_line, local_time
from mv_pipeline.settings import Settings

Automation = dg.SensorDefinition | dg.ScheduleDefinition

_TICKS = 5

# Whoever can read Dagster's storage has reached it.
_ALWAYS = frozenset(
    {ProblemType.CHECK_FAILED, ProblemType.RUN_FAILED, ProblemType.DAEMON_GONE, ProblemType.DATABASE_UNREACHABLE}
)
_WITH_DAEMON = frozenset({ProblemType.TICK_FAILED, ProblemType.TICKS_STOPPED})


def inspect_dagster(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    catalog: Catalog,
    settings: Settings,
    now: datetime,
) -> tuple[list[HealthProblem], frozenset[ProblemType]]:
    """What is wrong, and which types of problems could be inspected.

    Without a daemon nothing ticks: that isn't told again for each sensor, and says nothing about them.

    Args:
        instance: Dagster's instance.
        repository: the sensors and schedules that there should be.
        catalog: the relations.
        settings: links.
        now: aware.
    """
    runs = RunHealth(instance, repository, catalog, settings)
    found = [*runs.failed_checks(), *runs.failed_runs(), *gone_daemon(instance, catalog, settings, now)]
    if any(problem.type is ProblemType.DAEMON_GONE for problem in found):
        return found, _ALWAYS
    return [*found, *failing_ticks(instance, repository, catalog, settings, now)], _ALWAYS | _WITH_DAEMON


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
        yield HealthProblem(
            type=ProblemType.DAEMON_GONE,
            subject="daemon",
            level="failure",
            title="The daemon is gone" if gone == ages else f"Parts of the daemon are gone: {', '.join(gone)}",
            happened="It has never given a sign of life." if never else "It has given no sign of life since.",
            since=now if never else now - timedelta(seconds=newest),
            means="No file is taken, nothing is refreshed and no nightly run is made; rows that grow old are shown in: "
            f"{every_dashboard(catalog)}",
            todo="`systemctl restart mv-pipeline@daemon`, or `mv-pipeline dev`; `journalctl -u mv-pipeline@daemon` "
            "says why it ended",
            link=f"{settings.resolved_ui_url()}/deployment/daemons",
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
        since, problem_type = last or now, ProblemType.TICKS_STOPPED
        # Only a schedule knows when it was switched on.
        begun = getattr(state.instigator_data, "start_timestamp", None)
        if not state.is_running:
            fault, todo = "is switched off", "switch it on on its page"
        elif _is_late(definitions[name], max(last.timestamp() if last else 0.0, begun or 0.0), now):
            fault, todo = "has stopped ticking", "`systemctl restart mv-pipeline@daemon`, or restart `mv-pipeline dev`"
        elif ended and ended.is_failure:
            problem_type = ProblemType.TICK_FAILED
            fault, todo = "fails", "`mv-pipeline doctor` looks for the cause; the tick on its page has the whole error"
            happened = first_line(ended.error.message if ended.error else None)
            since = local_time(ended.timestamp)
        else:
            continue
        what = _what(definitions[name])
        yield HealthProblem(
            type=problem_type,
            subject=name,
            level="failure",
            title=f"The {what} {name} {fault}",
            happened=happened,
            since=since,
            means=_undone(repository, catalog, definitions[name]),
            todo=todo,
            link=f"{settings.resolved_ui_url()}/locations/mv_pipeline/{what}s/{name}",
        )


def switched_off(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> dict[str, str]:
    """What the sensors and schedules that somebody has switched off would do, by `sensor` or `schedule` and name."""
    definitions = _automations(repository)
    off = [state.instigator_name for state in instance.all_instigator_state() if not state.is_running]
    return {
        f"{_what(definitions[name])} {name}": definitions[name].description or "" for name in off if name in definitions
    }


def _automations(repository: dg.RepositoryDefinition) -> dict[str, Automation]:
    """The sensors and schedules by name."""
    definitions: list[Automation] = [*repository.sensor_defs, *repository.schedule_defs]
    return {definition.name: definition for definition in definitions}


def _what(definition: Automation) -> str:
    return "schedule" if isinstance(definition, dg.ScheduleDefinition) else "sensor"


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
