"""Nightly retention: deletes what has been kept for long enough, by the settings' days.

What is kept for how long, and what stays for ever, is in docs/retention.md. Nothing is deleted anywhere else.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import psycopg
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from mv_pipeline.checks.check import CheckResult
from mv_pipeline.database.connection import Database, limit_waits
from mv_pipeline.operations.dagster_private import delete_check_results, runs_with_newest_events
from mv_pipeline.settings import Settings

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Limits:
    """What one run may delete and how long it may take, so that a backlog of years doesn't make it a long one.

    Args:
        files: at most so many of each folder.
        rows: at most so many of each table of the log.
        runs: at most so many of Dagster's runs.
        seconds: nothing more is begun after this time.
    """

    files: int = 20_000
    rows: int = 100_000
    runs: int = 1_000
    seconds: float = 600.0
    _begun: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """The time that is left (s)."""
        return max(self._begun + self.seconds - time.monotonic(), 0.0)


@dataclass(frozen=True)
class Deleted:
    """What was deleted of one thing.

    Args:
        count: files, rows or runs.
        more: True if there is more that is old enough, for the next run.
    """

    count: int
    more: bool = False


@dataclass
class Retention:
    """What one run deleted, by the name of a folder, a table of the log, or `runs`.

    Args:
        counts: how many were deleted; what is kept for ever isn't in it.
        left: of what there is more than one run may delete.
        failed: why something could not be deleted.
    """

    counts: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def result(self) -> CheckResult:
        """What was found and expected, and the counts."""
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        message = "Nothing that is too old is left."
        if self.left:
            message = f"Still too old, none expected: {', '.join(self.left)}."
        if self.failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            message = f"{len(self.failed)} parts failed, none expected: {reasons}."
        return CheckResult(
            not self.failed and not self.left,
            f"Deleted: {counts or 'nothing, since all is kept for ever'}. {message}",
            {**self.counts, "failed": len(self.failed), "left": len(self.left)},
        )


def apply_retention(
    settings: Settings, database: Database, instance: dg.DagsterInstance, now: datetime, limits: Limits | None = None
) -> Retention:
    """Delete what is older than its setting says; a part that fails doesn't stop the others.

    Args:
        now: aware.
        limits: None: the usual ones.
    """
    limits = limits or Limits()
    parts: dict[str, tuple[int, Callable[[datetime, Limits], Deleted | dict[str, Deleted]]]] = {
        "archive": (settings.archive_days, partial(delete_files, settings.archive_dir)),
        "rejected": (settings.rejected_days, partial(delete_files, settings.rejected_dir)),
        "log": (settings.log_days, partial(delete_rows, database)),
        "runs": (settings.history_days, partial(delete_runs, instance)),
    }
    result = Retention()
    for name, (days, delete) in parts.items():
        if days:
            try:
                deleted = delete(now - timedelta(days=days), limits)
            except (psycopg.Error, OSError, SQLAlchemyError, DagsterPostgresException) as error:
                result.failed[name] = str(error).strip()
            else:
                by_name = deleted if isinstance(deleted, dict) else {name: deleted}
                result.counts.update({name: part.count for name, part in by_name.items()})
                result.left.extend(name for name, part in by_name.items() if part.more)
    return result


def delete_files(folder: Path, before: datetime, limits: Limits) -> Deleted:
    """Delete the regular files that came into a folder before a time, and the folders of months that this empties.

    When a file came is when its inode last changed (ctime): moving it here does that. The time that its content was
    written says nothing, since an old export may be dropped today.

    Args:
        folder: the archive, or the folder of rejected files; links in it are never followed.
        before: aware.
    """
    count = 0
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_ctime >= before.timestamp():
                continue
            if count >= limits.files or not limits.left_s:
                return Deleted(count, more=True)
            path.unlink(missing_ok=True)
            count += 1
        is_month = len(Path(parent).relative_to(folder).parts) > 1
        if is_month and names:
            # Refused if it isn't empty, or a file is just coming into it.
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
    return Deleted(count)


def delete_rows(database: Database, before: datetime, limits: Limits) -> dict[str, Deleted]:
    """Delete old rows of the log by its owner's function, which knows what is still read; by table what was deleted.

    Args:
        before: aware.
    """
    with database.connect("retention") as connection, connection.transaction():
        limit_waits(connection, statement_timeout=f"{max(limits.left_s, 1):.0f}s")
        rows = connection.execute("SELECT * FROM log.forget(%s, %s)", [before, limits.rows]).fetchall()
    return {table: Deleted(count, more=count >= limits.rows) for table, count in rows}


def delete_runs(instance: dg.DagsterInstance, before: datetime, limits: Limits) -> Deleted:
    """Delete finished runs of Dagster that nothing has happened to since a time, the oldest first.

    Dagster itself never deletes any. A run's materializations go with it, and with them days from the partition map and
    the newest numbers of an asset's page; so a run that holds the newest event of anything stays, whole.

    Args:
        before: aware.
    """
    finished = instance.get_run_ids(dg.RunsFilter(statuses=_FINISHED, updated_before=before))
    needed = runs_with_newest_events(instance)
    old = [run_id for run_id in reversed(finished) if run_id not in needed]
    batch = old[: limits.runs]
    # All at once, as no index leads to a run's.
    delete_check_results(instance, batch)
    count = 0
    for run_id in batch:
        if not limits.left_s:
            break
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.event_log_storage.delete_events(run_id)
        # A run's own row goes last, so that the next nightly run finds again what a crash has left.
        instance.delete_run(run_id)
        count += 1
    return Deleted(count, more=count < len(old))
