"""The sensors: one watches the inbox, one what changes in the database without us; the third reports problems.

What a file is and when it rests is `intake.inbox`'s business; that a file is taken once is the database's; whether a
view is stale, `refresh` says. The cursors only remember what was last seen, and how often something was tried.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import psycopg

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Database, describe_unreachable
from mv_pipeline.defs import jobs
from mv_pipeline.defs.assets.describe import asset_key
from mv_pipeline.defs.assets.intake import intake_step_name
from mv_pipeline.defs.checks import quick_check_keys
from mv_pipeline.intake.inbox import InboxScan, scan
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.rollup import rollups_with_news
from mv_pipeline.refresh.views import prune_change_log, read_change_log, read_view_status
from mv_pipeline.settings import load_settings

_SCAN_EVERY_S = 0.25
_ALERTS_EVERY_S = 30
_REST_S = 1.0
_FIRST_WAIT_S = 10
_LONGEST_WAIT_S = 600
_QUIET_S = 1.0
_LONGEST_BURST_S = 30.0
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status not in _ENDED]


class _Tried(NamedTuple):
    """What a cursor keeps of one thing that runs are started for: a file, or the state of the database.

    Args:
        stamp: changes when the thing does, and then everything begins anew.
        runs: the runs that were started for it.
        due: no other run is started before this time (s since the epoch).
        since: the time at which it was first seen so (s since the epoch).
    """

    stamp: str
    runs: int = 0
    due: float = 0.0
    since: float = 0.0

    def again(self) -> "_Tried":
        """The same after another run: what a run leaves behind waits longer each time."""
        runs = self.runs + 1
        return self._replace(runs=runs, due=time.time() + jobs.retry_delay_s(runs, _FIRST_WAIT_S, _LONGEST_WAIT_S))


def ingest_request(catalog: Catalog, files: list[tuple[str, str]], uploaded_by: str) -> dg.RunRequest:
    """The run that takes the given files and refreshes what lies downstream of their kinds.

    Args:
        files: kind and file name of each.
    """
    kinds = [find_kind(name) for name in dict.fromkeys(kind for kind, _ in files)]
    keys, checks = _still_there(catalog, jobs.ingest_keys(catalog, kinds))
    ops = {
        intake_step_name(kind): {
            "config": {"files": [name for folder, name in files if folder == kind.name], "uploaded_by": uploaded_by}
        }
        for kind in kinds
    }
    return dg.RunRequest(
        run_config={"ops": ops},
        asset_selection=keys,
        asset_check_keys=checks,
        tags={"mv_pipeline/files": str(len(files))},
    )


def build_inbox_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the inbox sensor; it is on by default.

    Dagster evaluates sensors every five seconds at most. So that a file doesn't wait for the next time, a tick watches
    the inbox for most of these seconds and ends as soon as everything there has come to rest.
    """
    own = jobs.own_tags()

    @dg.sensor(
        name="inbox",
        job_name=jobs.INGEST,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts one run for all CSV files that have come to rest in the inbox.",
    )
    def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        settings = load_settings()
        saved = json.loads(context.cursor).get("files", {}) if context.cursor else {}
        files = {key: _Tried(*tried) for key, tried in saved.items()}
        deadline = time.monotonic() + settings.watch_seconds
        while True:
            try:
                found = scan(settings.inbox_dir)
            except OSError as error:
                return dg.SensorResult(skip_reason=f"The inbox {settings.inbox_dir} can't be read: {error.strerror}.")
            now = time.time()
            before = {key: tried.stamp for key, tried in files.items() if tried.since <= now - _REST_S}
            resting = found.at_rest(before, settings.settle_seconds, settings.unfinished_seconds)
            files = {file.key: _seen(files.get(file.key), file.stamp, now) for file in found.files}
            # Files that come together are taken together, so a burst is watched to its end.
            if (resting and len(resting) == len(found.files)) or time.monotonic() >= deadline:
                break
            time.sleep(_SCAN_EVERY_S)
        under_way = _run_under_way(context, own, jobs.INGEST) if resting else None
        # A run that has ended since the scan has taken its files with it.
        due = [file for file in resting if files[file.key].due <= now and not under_way and file.path.exists()]
        if due:
            files |= {file.key: files[file.key].again() for file in due}
            request = ingest_request(catalog, [(file.kind, file.name) for file in due], "inbox")
            return dg.SensorResult(run_requests=[request], cursor=json.dumps({"files": files}))
        reason = _describe(found, settings.inbox_dir)
        if under_way:
            reason = f"Run {under_way} is under way. {reason}"
        elif resting:
            reason = f"{len(resting)} wait for another try. {reason}"
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps({"files": files}))

    return inbox


def build_changes_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the sensor that refreshes views after changes that no run of ours is about to consume.

    The web application and hand-written SQL are in the change log, and midnight moves the business date. A burst is
    waited out, for a while; a state that a run has left behind is tried again later and later.
    """
    own = jobs.own_tags()

    @dg.sensor(
        name="changes",
        job_name=jobs.REFRESH_CHANGED,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Refreshes what is stale because something changed in the database, or because a day has begun.",
    )
    def changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        under_way = _run_under_way(context, own, jobs.INGEST, jobs.REFRESH_ALL, jobs.REFRESH_CHANGED, jobs.NIGHTLY)
        if under_way:
            return dg.SensorResult(skip_reason=f"Run {under_way} is under way; what it leaves is refreshed after it.")
        try:
            with Database().connect("sensor changes") as connection:
                if detect_restore(connection):
                    context.log.warning("The database was restored on another server: everything is computed anew.")
                log = read_change_log(connection)
                statuses = read_view_status(connection, catalog.materialized_views)
                # Plain views may be all that reads a rollup: they are right without a run, but get slower.
                stale = [
                    *rollups_with_news(connection, catalog.rollups),
                    *(status.relation for status in statuses if status.stale),
                ]
                if not stale and log.newest:
                    prune_change_log(connection)
        except psycopg.OperationalError as error:
            return dg.SensorResult(skip_reason=describe_unreachable(error))
        if not stale:
            return dg.SensorResult(skip_reason="Every view is fresh.", cursor="")
        still_coming = log.quiet_s is not None and log.quiet_s < _QUIET_S
        if still_coming and (log.waiting_s or 0) < _LONGEST_BURST_S:
            return dg.SensorResult(skip_reason="Changes are still coming in.")
        known = _Tried(*json.loads(context.cursor)) if context.cursor else None
        state = _seen(known, f"{log.newest} {' '.join(stale)}", time.time())
        if state.due > time.time():
            return dg.SensorResult(skip_reason=f"{len(stale)} relations stay stale after a run; they wait for a retry.")
        request = changed_request(catalog, stale)
        if not request.asset_selection:
            return dg.SensorResult(skip_reason="What is stale has no SQL file any more.")
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(state.again()))

    return changes


def changed_request(catalog: Catalog, stale: list[str]) -> dg.RunRequest:
    """The run that makes the given rollups and views fresh: they, and what lies between them and the staging tables."""
    wanted = {other for name in stale for other in (name, *catalog.upstream(name))}
    keys, checks = _still_there(catalog, [asset_key(name) for name in catalog.relations if name in wanted])
    return dg.RunRequest(asset_selection=keys, asset_check_keys=checks)


def _still_there(catalog: Catalog, keys: list[dg.AssetKey]) -> tuple[list[dg.AssetKey], list[dg.AssetCheckKey]]:
    """The assets that the SQL files describe now too, and their quick checks.

    A run reads the files anew, and would fail at what was removed since they were read here.
    """
    now = load_catalog(load_settings().sql_dir)
    gone = {asset_key(name) for name in catalog.relations.keys() - now.relations.keys()}
    keys = [key for key in keys if key not in gone]
    there = set(quick_check_keys(now, keys))
    return keys, [key for key in quick_check_keys(catalog, keys) if key in there]


Report = Callable[[Catalog, dg.DagsterInstance, dg.RepositoryDefinition | None], str]


def build_alerts_sensor(catalog: Catalog, report: Report) -> dg.SensorDefinition:
    """Make the sensor that reports problems; it is on by default and starts no run."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=_ALERTS_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Inspects the installation and the files that were taken; tells people of problems and their ends.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(report(catalog, context.instance, context.repository_def))

    return alerts


def build_sensors(catalog: Catalog, report: Report) -> list[dg.SensorDefinition]:
    """Make all sensors.

    Args:
        report: inspects everything, tells people what is new, and says what it found.
    """
    return [build_inbox_sensor(catalog), build_changes_sensor(catalog), build_alerts_sensor(catalog, report)]


def _run_under_way(context: dg.SensorEvaluationContext, own: Mapping[str, str], *job_names: str) -> str | None:
    """The id of a run of one of the jobs that hasn't ended, if there is one."""
    runs = context.instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY, tags=own))
    return next((run.run_id for run in runs if run.job_name in job_names), None)


def _seen(known: _Tried | None, stamp: str, now: float) -> _Tried:
    return known if known and known.stamp == stamp else _Tried(stamp, since=now)


def _describe(found: InboxScan, inbox: Path) -> str:
    # What is left alone there, doctor and the alerts name.
    return f"{len(found.files)} CSV files in {inbox}, none new at rest." if found.files else f"No CSV file in {inbox}."
