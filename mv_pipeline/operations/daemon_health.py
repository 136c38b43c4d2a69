"""What Dagster's storage says is wrong: failing or missing ticks, a daemon that is gone, and what `runs` finds.

Dagster calls no hook for most of these, so Dagster's storage is inspected. Nothing is written.
"""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.operations.dagster_private import (
    InstigatorState,
    InstigatorTick,
    ScheduleInstigatorData,
    TickStatus,
    reverse_cron_string_iterator,
)
from mv_pipeline.operations.problem import (
    DAEMON_SILENT_S,
    SCHEDULE_LATE,
    SENSOR_LATE_S,
    HealthProblem,
    ProblemType,
    every_dashboard,
    shown_in,
)
from mv_pipeline.operations.run_health import failed_checks, failed_runs, newest_evaluations
from mv_pipeline.settings import TIME_ZONE, Settings

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
    evaluations = newest_evaluations(instance, catalog)
    found = [
        *failed_checks(evaluations, catalog, settings),
        *failed_runs(instance, repository, evaluations, catalog, settings),
        *gone_daemon(instance, catalog, settings, now),
    ]
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
) -> list[HealthProblem]:
    """The daemon, if a part of it has given no sign of life for a while or never did."""
    ages = heartbeat_ages(instance, now)
    gone = {name: age for name, age in ages.items() if age > DAEMON_SILENT_S}
    if not gone:
        return []
    newest = min(gone.values())
    return [
        HealthProblem(
            type=ProblemType.DAEMON_GONE,
            subject="daemon",
            level="failure",
            title="The daemon is gone"
            if len(gone) == len(ages)
            else f"Parts of the daemon are gone: {', '.join(gone)}",
            happened="It has never given a sign of life."
            if math.isinf(newest)
            else "It has given no sign of life since.",
            since=now if math.isinf(newest) else now - timedelta(seconds=newest),
            means="No file is taken, nothing is refreshed and no night is done; rows that grow old are shown in: "
            f"{every_dashboard(catalog)}",
            todo="`systemctl restart mv-pipeline@daemon`, or `mv-pipeline dev`; `journalctl -u mv-pipeline@daemon` "
            "says why it ended",
            link=f"{settings.resolved_ui_url()}/deployment/daemons",
        )
    ]


def failing_ticks(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    catalog: Catalog,
    settings: Settings,
    now: datetime,
) -> list[HealthProblem]:
    """The sensors and schedules whose newest tick failed, that are switched off, or that have stopped ticking."""
    definitions = _by_name(repository)
    return [
        problem
        for state in instance.all_instigator_state()
        if state.instigator_name in definitions
        for problem in _inspect_ticks(
            instance,
            state,
            definitions[state.instigator_name],
            _undone(repository, catalog, definitions[state.instigator_name]),
            settings,
            now,
        )
    ]


def switched_off(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> dict[str, str]:
    """What the sensors and schedules that somebody has switched off would do, by `sensor` or `schedule` and name."""
    definitions = _by_name(repository)
    return {
        f"{_what(definitions[state.instigator_name])} {state.instigator_name}": (
            definitions[state.instigator_name].description or ""
        )
        for state in instance.all_instigator_state()
        if state.instigator_name in definitions and not state.is_running
    }


def _by_name(repository: dg.RepositoryDefinition) -> dict[str, dg.SensorDefinition | dg.ScheduleDefinition]:
    return {
        **{sensor.name: sensor for sensor in repository.sensor_defs},
        **{schedule.name: schedule for schedule in repository.schedule_defs},
    }


def _what(definition: dg.SensorDefinition | dg.ScheduleDefinition) -> str:
    return "schedule" if isinstance(definition, dg.ScheduleDefinition) else "sensor"


def _undone(
    repository: dg.RepositoryDefinition, catalog: Catalog, definition: dg.SensorDefinition | dg.ScheduleDefinition
) -> str:
    """What isn't done without the sensor or schedule, and where that shows."""
    undone = f"This isn't done: {definition.description}"
    targets = [definition.target] if isinstance(definition, dg.ScheduleDefinition) else definition.targets
    jobs = [target.job_name for target in targets]
    keys = {key for job in jobs for key in repository.get_job(job).asset_layer.executable_asset_keys}
    names = [".".join(key.path) for key in keys]
    if not any(name in catalog.relations for name in names):
        return undone
    return f"{undone} Older rows may be shown in: {shown_in(catalog, *names)}"


def _inspect_ticks(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    definition: dg.SensorDefinition | dg.ScheduleDefinition,
    means: str,
    settings: Settings,
    now: datetime,
) -> Iterator[HealthProblem]:
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS)
    what = _what(definition)
    name = state.instigator_name
    link = f"{settings.resolved_ui_url()}/locations/mv_pipeline/{what}s/{name}"
    newest = _time(ticks[0].timestamp) if ticks else None
    if not state.is_running or _is_late(state, definition, newest, now):
        off = "is switched off" if not state.is_running else "has stopped ticking"
        yield HealthProblem(
            type=ProblemType.TICKS_STOPPED,
            subject=name,
            level="failure",
            title=f"The {what} {name} {off}",
            happened=f"Its last tick was at {newest:%Y-%m-%d %H:%M:%S}." if newest else "It has never ticked.",
            since=newest or now,
            means=means,
            todo="switch it on on its page"
            if not state.is_running
            else "`systemctl restart mv-pipeline@daemon`, or restart `mv-pipeline dev`",
            link=link,
        )
        return
    ended = next((tick for tick in ticks if tick.status is not TickStatus.STARTED), None)
    if ended and ended.status is TickStatus.FAILURE:
        yield HealthProblem(
            type=ProblemType.TICK_FAILED,
            subject=name,
            level="failure",
            title=f"The {what} {name} fails",
            happened=_error(ended),
            since=_time(ended.timestamp),
            means=means,
            todo="`mv-pipeline doctor` looks for the cause; the tick on its page has the whole error",
            link=link,
        )


def _is_late(
    state: InstigatorState,
    definition: dg.SensorDefinition | dg.ScheduleDefinition,
    newest: datetime | None,
    now: datetime,
) -> bool:
    if isinstance(definition, dg.ScheduleDefinition):
        data = state.instigator_data
        begun = data.start_timestamp if isinstance(data, ScheduleInstigatorData) else None
        last = max(newest.timestamp() if newest else 0.0, begun or 0.0)
        due = next(
            reverse_cron_string_iterator(
                (now - SCHEDULE_LATE).timestamp(), str(definition.cron_schedule), definition.execution_timezone
            )
        )
        return last > 0 and due.timestamp() > last
    return newest is not None and (now - newest).total_seconds() > SENSOR_LATE_S


def _error(tick: InstigatorTick) -> str:
    """The last line of what the tick says of its failure."""
    error = tick.error
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "It says no reason."


def _time(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, TIME_ZONE)
