"""The sensors: one watches the inbox, one what changes in the database without us; the third reports problems.

What a file is and when it rests is `intake.inbox`'s business; that a file is taken once is the database's; whether a
view is stale, `refresh` says. The cursors only remember what the last look saw, and how often something was tried.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psycopg

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets.describe import asset_key
from mv_pipeline.defs.assets.intake import intake_step_name
from mv_pipeline.defs.checks import quick_check_keys
from mv_pipeline.defs.jobs import INGEST, NIGHTLY, REFRESH_ALL, REFRESH_CHANGED, downstream_keys, intake_keys
from mv_pipeline.defs.resources import is_alive
from mv_pipeline.intake.inbox import InboxFile, InboxScan, scan
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.views import prune_change_log, read_change_log, read_view_status
from mv_pipeline.settings import load_settings

_LOOK_S = 0.25
_ALERTS_EVERY_S = 30
_REST_S = 1.0
_FIRST_WAIT_S = 10
_LONGEST_WAIT_S = 600
_SHOWN = 5
_QUIET_S = 1.0
_LONGEST_BURST_S = 30.0
_FIRST_SIGN_S = 10.0
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def ingest_request(
    catalog: Catalog, files: list[tuple[str, str]], uploaded_by: str, tags: dict[str, str] | None = None
) -> dg.RunRequest:
    """The run that takes the given files and refreshes what lies downstream of their kinds.

    Args:
        catalog: the relations.
        files: kind and file name of each.
        uploaded_by: for the log.
        tags: for the run.
    """
    kinds = [find_kind(name) for name in dict.fromkeys(kind for kind, _ in files)]
    keys = [
        *(key for kind in kinds for key in intake_keys(kind)),
        *downstream_keys(catalog, {f"stg.{kind.name}" for kind in kinds}),
    ]
    return dg.RunRequest(
        run_config={
            "ops": {
                intake_step_name(kind): {
                    "config": {
                        "files": [name for kind_name, name in files if kind_name == kind.name],
                        "uploaded_by": uploaded_by,
                    }
                }
                for kind in kinds
            }
        },
        asset_selection=keys,
        asset_check_keys=quick_check_keys(catalog, keys),
        tags={"mv_pipeline/files": str(len(files)), **(tags or {})},
    )


def build_inbox_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the inbox sensor; it is on by default.

    Dagster evaluates sensors every five seconds at most. So that a file doesn't wait for the next time, a tick watches
    the inbox for most of these seconds and ends as soon as everything there has come to rest.
    """

    @dg.sensor(
        name="inbox",
        job_name=INGEST,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts one run for all CSV files that have come to rest in the inbox.",
    )
    def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        settings = load_settings()
        memory = _Memory(context.cursor)
        deadline = time.monotonic() + settings.watch_seconds
        while True:
            try:
                look = scan(settings.inbox_dir)
            except OSError as error:
                return dg.SensorResult(skip_reason=f"The inbox {settings.inbox_dir} can't be read: {error.strerror}.")
            resting = look.at_rest(memory.seen_before(), settings.settle_seconds)
            memory.remember(look)
            # Files that come together are taken together, so a burst is watched to its end.
            if (resting and len(resting) == len(look.files)) or time.monotonic() >= deadline:
                break
            time.sleep(_LOOK_S)
        under_way = _run_under_way(context, INGEST) if resting else None
        if under_way:
            reason = f"Run {under_way} is under way. {_describe(look, settings.inbox_dir)}"
            return dg.SensorResult(skip_reason=reason, cursor=memory.cursor())
        due = memory.due(resting)
        if not due:
            waiting = f"{len(resting)} wait for another try. " if resting else ""
            return dg.SensorResult(skip_reason=waiting + _describe(look, settings.inbox_dir), cursor=memory.cursor())
        request = ingest_request(catalog, [(file.kind, file.name) for file in due], "inbox")
        return dg.SensorResult(run_requests=[request], cursor=memory.cursor())

    return inbox


def build_changes_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the sensor that refreshes views after changes that no run of ours is about to consume.

    The web application and hand-written SQL leave change notes, and midnight moves the business date. A burst is
    waited out, for a while; a state that a run has left behind is tried again later and later.
    """

    @dg.sensor(
        name="changes",
        job_name=REFRESH_CHANGED,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Refreshes what is stale because something changed in the database, or because a day has begun.",
    )
    def changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        under_way = _run_under_way(context, INGEST, REFRESH_ALL, REFRESH_CHANGED, NIGHTLY)
        if under_way:
            return dg.SensorResult(skip_reason=f"Run {under_way} is under way; what it leaves is looked at after it.")
        try:
            with Database().connect("sensor changes") as connection:
                if detect_restore(connection):
                    context.log.warning("The database was restored on another server: everything is computed anew.")
                log = read_change_log(connection)
                statuses = read_view_status(connection, catalog.materialized_views)
                stale = [status.relation for status in statuses if status.stale]
                if not stale and log.newest:
                    prune_change_log(connection)
        except psycopg.OperationalError as error:
            return dg.SensorResult(skip_reason=f"The database can't be reached: {str(error).strip()}")
        if not stale:
            return dg.SensorResult(skip_reason="Every view is fresh.", cursor="")
        still_coming = log.quiet_s is not None and log.quiet_s < _QUIET_S
        if still_coming and (log.waiting_s or 0) < _LONGEST_BURST_S:
            return dg.SensorResult(skip_reason="Changes are still coming in.")
        state = f"{log.newest} {' '.join(stale)}"
        known, count, due = json.loads(context.cursor) if context.cursor else ("", 0, 0.0)
        count = count if known == state else 0
        if count and due > time.time():
            return dg.SensorResult(skip_reason=f"{len(stale)} views stay stale after a run; they wait for a retry.")
        return dg.SensorResult(
            run_requests=[changed_request(catalog, stale)],
            cursor=json.dumps((state, count + 1, time.time() + _wait_s(count))),
        )

    return changes


def changed_request(catalog: Catalog, views: list[str]) -> dg.RunRequest:
    """The run that makes the given views fresh: they, and what lies between them and the staging tables."""
    derived = {table.name for table in ROLLUPS.values()} | catalog.relations.keys()
    upstream = set().union(*(catalog.upstream(name) for name in views)) & derived
    keys = [asset_key(name) for name in sorted(upstream | set(views))]
    return dg.RunRequest(asset_selection=keys, asset_check_keys=quick_check_keys(catalog, keys))


Report = Callable[[Catalog, dg.DagsterInstance, dg.RepositoryDefinition | None], str]


def build_alerts_sensor(catalog: Catalog, report: Report) -> dg.SensorDefinition:
    """Make the sensor that reports problems; it is on by default and starts no run."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=_ALERTS_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for trouble, and tells people when it begins and when it is over.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(report(catalog, context.instance, context.repository_def))

    return alerts


def build_sensors(catalog: Catalog, report: Report) -> list[dg.SensorDefinition]:
    """Make all sensors.

    Args:
        catalog: the relations.
        report: inspects everything, tells people what is new, and says what it found.
    """
    return [build_inbox_sensor(catalog), build_changes_sensor(catalog), build_alerts_sensor(catalog, report)]


def _run_under_way(context: dg.SensorEvaluationContext, *jobs: str) -> str | None:
    """The id of a run of one of the jobs that hasn't ended, if there is one; runs whose process is gone are ended."""
    records = context.instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY))
    for record in records:
        if record.dagster_run.job_name in jobs and not _end_if_dead(context.instance, record):
            return record.dagster_run.run_id
    return None


def _end_if_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Mark a run as failed if its process died without a word: at a SIGKILL, or with the machine.

    A run that hasn't begun to work is left to Dagster's own time limit.
    """
    if record.start_time is None or time.time() - record.start_time < _FIRST_SIGN_S:
        return False
    try:
        with Database().connect("sensors") as connection:
            alive = is_alive(connection, record.dagster_run.run_id)
    except psycopg.OperationalError:
        return False
    if not alive:
        instance.report_run_failed(record.dagster_run, "The process of this run is gone; the next run goes on.")
    return not alive


def _wait_s(tries: int) -> float:
    """How long to wait after so many tries before the next."""
    return float(min(_FIRST_WAIT_S * 2**tries, _LONGEST_WAIT_S))


class _Memory:
    """The cursor: each file's stamp and since when it is so; for each file tried the stamp, tries and next time."""

    def __init__(self, cursor: str | None) -> None:
        state = json.loads(cursor) if cursor else {}
        self._seen: dict[str, tuple[str, float]] = {key: (at[0], at[1]) for key, at in state.get("seen", {}).items()}
        self._tries: dict[str, tuple[str, int, float]] = {
            key: (tried[0], tried[1], tried[2]) for key, tried in state.get("tries", {}).items()
        }

    def seen_before(self) -> dict[str, str]:
        """The stamps that files already had at a look long enough ago to compare with."""
        latest = time.time() - _REST_S
        return {key: stamp for key, (stamp, since) in self._seen.items() if since <= latest}

    def remember(self, look: InboxScan) -> None:
        now = time.time()
        stamps = look.stamps()
        self._seen = {
            key: self._seen[key] if key in self._seen and self._seen[key][0] == stamp else (stamp, now)
            for key, stamp in stamps.items()
        }
        self._tries = {key: tried for key, tried in self._tries.items() if stamps.get(key) == tried[0]}

    def due(self, files: list[InboxFile]) -> list[InboxFile]:
        """The files to take now; one that a run has left behind waits longer each time."""
        now = time.time()
        due = [file for file in files if file.key not in self._tries or self._tries[file.key][2] <= now]
        for file in due:
            count = self._tries[file.key][1] if file.key in self._tries else 0
            self._tries[file.key] = (file.stamp, count + 1, now + _wait_s(count))
        return due

    def cursor(self) -> str:
        return json.dumps({"seen": self._seen, "tries": self._tries})


def _describe(look: InboxScan, inbox: Path) -> str:
    seen = f"{len(look.files)} CSV files in {inbox}, none new at rest." if look.files else f"No CSV file in {inbox}."
    if not look.left_alone:
        return seen
    names = "; ".join(f"{name} ({reason})" for name, reason in list(look.left_alone.items())[:_SHOWN])
    more = f" and {len(look.left_alone) - _SHOWN} more" if len(look.left_alone) > _SHOWN else ""
    return f"{seen} Left alone: {names}{more}."
