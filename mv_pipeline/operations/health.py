"""The one list of health checks: `doctor` prints what they find, the sensor `alerts` and `watch` act on it.

What is said of a problem is in problems.yaml, from when on something is one in `problem`.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psycopg

from mv_pipeline.database.connection import sessions
from mv_pipeline.migrate.swap import who_holds
from mv_pipeline.operations.daemon_health import failing_ticks, gone_daemon
from mv_pipeline.operations.database_health import (
    changed_files,
    days_shrunk,
    days_without_lines,
    definition_drift,
    failed_views,
    not_migrated,
    rejected_files,
    slow_refreshes,
    unsupported_servers,
)
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.problem import FILE_WAITS_S, LOW_DISK_GB, HealthProblem, every_dashboard, shown_in
from mv_pipeline.operations.problem import ProblemType as P
from mv_pipeline.operations.run_health import failed_checks, failed_runs, incomplete_retention, local_time

Inspection = dict[P, list[HealthProblem]]
"""The problems of each type that could be inspected; none, where nothing is wrong."""


@dataclass(frozen=True)
class HealthCheck:
    """What finds the problems of a type.

    Args:
        find: finds them.
        needs: type or key of the problem with which this one can't be inspected.
        is_told: receivers of alerts hear of it; otherwise only doctor says it.
    """

    find: Callable[[Installation], Iterable[HealthProblem]]
    needs: str = ""
    is_told: bool = True


def low_disk(of: Installation) -> Iterator[HealthProblem]:
    """The disk of the home, if little is free."""
    if of.free_gb < LOW_DISK_GB:
        home = str(of.settings.home)
        yield HealthProblem.of(P.LOW_DISK, home, of.settings, of.now, free_mb=of.free_gb * 1000)


def unreadable_inbox(of: Installation) -> Iterator[HealthProblem]:
    """The inbox, if it can't be read."""
    try:
        _ = of.inbox
    except OSError as error:
        inbox = str(of.settings.inbox_dir)
        yield HealthProblem.of(P.INBOX_UNREADABLE, inbox, of.settings, of.now, reason=error.strerror)


def files_left_alone(of: Installation) -> Iterator[HealthProblem]:
    """What is in the inbox and isn't taken."""
    for name, reason in of.inbox.left_alone.items():
        yield HealthProblem.of(P.FILE_LEFT_ALONE, name, of.settings, of.now, reason=reason)


def waiting_files(of: Installation) -> Iterator[HealthProblem]:
    """The files that have been waiting in the inbox for minutes, and what they wait for."""
    # Who can't be reached is told as such, and a file may be taken just now.
    with contextlib.suppress(OSError, psycopg.OperationalError):
        # A copy may keep its original's time of change; coming into a folder changes the other one.
        since = {file: max(file.mtime_ns / 1e9, file.path.lstat().st_ctime) for file in of.inbox.files}
        late = sorted((at, file.key) for file, at in since.items() if at < of.now.timestamp() - FILE_WAITS_S)
        if not late:
            return
        tables = sorted({f"stg.{key.partition('/')[0]}" for _, key in late})
        runs = [f"{purpose} (session {pid})" for purpose, pid in sessions(of.connection, "run ").items()]
        yield HealthProblem.of(
            P.FILES_WAITING,
            "inbox",
            of.settings,
            local_time(late[0][0]),
            count=len(late),
            name=late[0][1],
            runs=", ".join(runs) or "none",
            holders=who_holds(of.connection, tables, writing=True),
            dashboards=shown_in(of.catalog, *tables),
        )


def unreachable_databases(of: Installation) -> Iterator[HealthProblem]:
    """The databases that don't answer."""
    for subject, connect in (("warehouse", lambda: of.connection), ("dagster", lambda: of.instance)):
        try:
            connect()
        except psycopg.OperationalError as error:
            yield unreachable(of, subject, error)


def unreachable(of: Installation, subject: str, error: psycopg.OperationalError) -> HealthProblem:
    """The problem of a database that can't be reached.

    Args:
        subject: `warehouse` or `dagster`.
        error: what the driver says.
    """
    return HealthProblem.of(
        P.DATABASE_UNREACHABLE,
        subject,
        of.settings,
        of.now,
        whose=" of Dagster" if subject == "dagster" else "",
        reason=str(error).strip(),
        dashboards=every_dashboard(of.catalog),
    )


def _of_ticks(problem_type: P) -> Callable[[Installation], Iterable[HealthProblem]]:
    return lambda of: [problem for problem in failing_ticks(of) if problem.type is problem_type]


_WAREHOUSE, _DAGSTER = f"{P.DATABASE_UNREACHABLE}:warehouse", f"{P.DATABASE_UNREACHABLE}:dagster"
HEALTH_CHECKS: dict[P, HealthCheck] = {
    P.LOW_DISK: HealthCheck(low_disk),
    # The failing tick of the sensor `inbox` tells it.
    P.INBOX_UNREADABLE: HealthCheck(unreadable_inbox, is_told=False),
    P.FILE_LEFT_ALONE: HealthCheck(files_left_alone, P.INBOX_UNREADABLE),
    P.DATABASE_UNREACHABLE: HealthCheck(unreachable_databases),
    P.SERVER_UNSUPPORTED: HealthCheck(unsupported_servers, _WAREHOUSE),
    # Incidents can't be kept before: the sensor's tick and `watch` say so.
    P.NOT_MIGRATED: HealthCheck(not_migrated, f"{P.SERVER_UNSUPPORTED}:server", is_told=False),
    # The nightly check `definition` of the view tells it.
    P.DEFINITION_DRIFT: HealthCheck(definition_drift, P.NOT_MIGRATED, is_told=False),
    P.REJECTED_FILE: HealthCheck(rejected_files, P.NOT_MIGRATED),
    P.DAY_SHRUNK: HealthCheck(days_shrunk, P.NOT_MIGRATED),
    P.FILE_CHANGED: HealthCheck(changed_files, P.NOT_MIGRATED),
    P.VIEW_FAILED: HealthCheck(failed_views, P.NOT_MIGRATED),
    P.DATA_MISSING: HealthCheck(days_without_lines, P.NOT_MIGRATED),
    P.REFRESH_SLOW: HealthCheck(slow_refreshes, P.NOT_MIGRATED),
    P.CHECK_FAILED: HealthCheck(failed_checks, _DAGSTER),
    P.RUN_FAILED: HealthCheck(failed_runs, _DAGSTER),
    P.DAEMON_GONE: HealthCheck(gone_daemon, _DAGSTER),
    # Without a daemon no file is taken, which is told already.
    P.FILES_WAITING: HealthCheck(waiting_files, P.DAEMON_GONE),
    P.SWITCHED_OFF: HealthCheck(_of_ticks(P.SWITCHED_OFF), _DAGSTER),
    # Without a daemon nothing ticks: that isn't said again of each sensor.
    P.TICK_FAILED: HealthCheck(_of_ticks(P.TICK_FAILED), P.DAEMON_GONE),
    P.TICKS_STOPPED: HealthCheck(_of_ticks(P.TICKS_STOPPED), P.DAEMON_GONE),
    # As a check of severity WARN.
    P.RETENTION_INCOMPLETE: HealthCheck(incomplete_retention, _DAGSTER, is_told=False),
}


def inspect(installation: Installation) -> Inspection:
    """Run every health check that can be run."""
    found: Inspection = {}
    blocked: set[str] = set()
    skipped: set[str] = set()
    for problem_type, check in HEALTH_CHECKS.items():
        if check.needs in blocked or check.needs.partition(":")[0] in skipped:
            skipped.add(problem_type)
            continue
        found[problem_type] = list(check.find(installation))
        for problem in found[problem_type]:
            blocked.update((problem_type, problem.key))
    return found
