"""What Dagster's storage says is wrong: failed checks, failing or missing ticks, a daemon without a sign of life.

Dagster calls no hook for any of these, so they are looked for. Nothing is written.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, ScheduleInstigatorData, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from dagster._daemon.controller import get_daemon_statuses
from dagster._utils.schedules import reverse_cron_string_iterator

from mv_pipeline.alerts.condition import Condition, Kind, level_of, names_downstream
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks import check_keys
from mv_pipeline.settings import TIME_ZONE, Settings

# Heartbeats come every 30 s; a tick that watches the inbox, or a run's start, may hold one up for as long again.
DAEMON_GONE_S = 180.0
# Sensors tick every few seconds, and none of them takes minutes.
SENSOR_LATE_S = 300.0
_SCHEDULE_LATE = timedelta(minutes=10)
_TICKS = 5

# Whoever can look at Dagster's storage has reached it.
_ALWAYS = frozenset({Kind.CHECK_FAILED, Kind.DAEMON_GONE, Kind.DATABASE_AWAY})
_WITH_DAEMON = frozenset({Kind.TICK_FAILED, Kind.TICKS_STOPPED})


def look_at_dagster(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    catalog: Catalog,
    settings: Settings,
    now: datetime,
) -> tuple[list[Condition], frozenset[Kind]]:
    """What is wrong, and which kinds of conditions could be looked for.

    Without a daemon nothing ticks: that isn't told again for each sensor, and says nothing about them.

    Args:
        instance: Dagster's instance.
        repository: the sensors and schedules that there should be.
        catalog: the relations.
        settings: links.
        now: aware.
    """
    found = [*failed_checks(instance, catalog, settings), *gone_daemon(instance, settings, now)]
    if any(condition.kind is Kind.DAEMON_GONE for condition in found):
        return found, _ALWAYS
    return [*found, *failing_ticks(instance, repository, settings, now)], _ALWAYS | _WITH_DAEMON


def failed_checks(instance: dg.DagsterInstance, catalog: Catalog, settings: Settings) -> list[Condition]:
    """The checks of severity ERROR whose latest evaluation failed."""
    storage = instance.event_log_storage
    found = []
    for key, newest in storage.get_latest_asset_check_execution_by_key(check_keys(catalog)).items():
        record: AssetCheckExecutionRecord | None = newest
        if newest.status not in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES:
            # One that is planned in a run under way says nothing yet.
            before = storage.get_asset_check_execution_history(
                key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
            )
            record = before[0] if before else None
        evaluation = record.evaluation if record else None
        if (
            record is None
            or evaluation is None
            or evaluation.passed
            or evaluation.severity is not dg.AssetCheckSeverity.ERROR
        ):
            continue
        name = ".".join(key.asset_key.path)
        refreshes = name in catalog.relations
        found.append(
            Condition(
                kind=Kind.CHECK_FAILED,
                subject=f"{name}:{key.name}",
                level=level_of(catalog, name.replace("raw.", "stg.", 1)),
                title=f"The check {key.name} of {name} failed",
                happened=evaluation.description or "",
                since=_time(record.event.timestamp if record.event else record.create_timestamp),
                means=f"{name} may be wrong or old, and so may: {names_downstream(catalog, name)}",
                todo=f"`mv-pipeline {f'refresh {name}' if refreshes else 'doctor'}`; the check's text says more",
                link=f"{settings.resolved_ui_url()}/runs/{record.run_id}",
            )
        )
    return found


def gone_daemon(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> list[Condition]:
    """The daemon, if a part of it has given no sign of life for a while or never did."""
    statuses = get_daemon_statuses(
        instance,
        instance.get_required_daemon_types(),
        curr_time_seconds=now.timestamp(),
        ignore_errors=True,
        heartbeat_interval_seconds=0,
        heartbeat_tolerance_seconds=DAEMON_GONE_S,
    )
    gone = {name: status.last_heartbeat for name, status in statuses.items() if not status.healthy}
    if not gone:
        return []
    beats = [beat.timestamp for beat in gone.values() if beat]
    return [
        Condition(
            kind=Kind.DAEMON_GONE,
            subject="daemon",
            level="failure",
            title="The daemon is gone"
            if len(gone) == len(statuses)
            else f"Parts of the daemon are gone: {', '.join(gone)}",
            happened="It has given no sign of life since." if beats else "It has never given a sign of life.",
            since=_time(max(beats)) if beats else now,
            means="No file is taken, nothing is refreshed and no night is done: every dashboard grows old",
            todo="`systemctl restart mv-pipeline@daemon`, or `mv-pipeline dev`; `journalctl -u mv-pipeline@daemon` "
            "says why it ended",
            link=f"{settings.resolved_ui_url()}/deployment/daemons",
        )
    ]


def failing_ticks(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, settings: Settings, now: datetime
) -> list[Condition]:
    """The sensors and schedules whose newest tick failed, that are switched off, or that have stopped ticking."""
    definitions: dict[str, dg.SensorDefinition | dg.ScheduleDefinition] = {
        **{sensor.name: sensor for sensor in repository.sensor_defs},
        **{schedule.name: schedule for schedule in repository.schedule_defs},
    }
    return [
        condition
        for state in instance.all_instigator_state()
        if state.instigator_name in definitions
        for condition in _look_at_ticks(instance, state, definitions[state.instigator_name], settings, now)
    ]


def _look_at_ticks(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    definition: dg.SensorDefinition | dg.ScheduleDefinition,
    settings: Settings,
    now: datetime,
) -> Iterator[Condition]:
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS)
    what = "schedule" if isinstance(definition, dg.ScheduleDefinition) else "sensor"
    name = state.instigator_name
    link = f"{settings.resolved_ui_url()}/locations/mv_pipeline/{what}s/{name}"
    means = definition.description or ""
    newest = _time(ticks[0].timestamp) if ticks else None
    if not state.is_running or _is_late(state, definition, newest, now):
        off = "is switched off" if not state.is_running else "has stopped ticking"
        yield Condition(
            kind=Kind.TICKS_STOPPED,
            subject=name,
            level="failure",
            title=f"The {what} {name} {off}",
            happened=f"Its last tick was at {newest:%Y-%m-%d %H:%M:%S}." if newest else "It has never ticked.",
            since=newest or now,
            means=f"This isn't done: {means}",
            todo="switch it on on its page"
            if not state.is_running
            else "`systemctl restart mv-pipeline@daemon`, or restart `mv-pipeline dev`",
            link=link,
        )
        return
    ended = next((tick for tick in ticks if tick.status is not TickStatus.STARTED), None)
    if ended and ended.status is TickStatus.FAILURE:
        yield Condition(
            kind=Kind.TICK_FAILED,
            subject=name,
            level="failure",
            title=f"The {what} {name} fails",
            happened=_error(ended),
            since=_time(ended.timestamp),
            means=f"This isn't done: {means}",
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
                (now - _SCHEDULE_LATE).timestamp(), str(definition.cron_schedule), definition.execution_timezone
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
