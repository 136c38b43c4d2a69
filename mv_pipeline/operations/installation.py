"""An installation as health checks read it: files, the warehouse database and Dagster's storage, each opened once."""

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.defs.checks import check_keys
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.intake.inbox import InboxScan, scan
from mv_pipeline.operations.dagster_private import newest_check_results
from mv_pipeline.settings import Settings

# One may be under way, and one may have been skipped.
_TICKS = 5


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage as the settings name it.

    Raises:
        psycopg.OperationalError: it can't be reached.
    """
    Database(settings.resolved_dagster_url()).open("doctor").close()
    with dg.DagsterInstance.get() as instance:
        yield instance


def heartbeat_ages(instance: dg.DagsterInstance, now: datetime) -> dict[str, float]:
    """Seconds since the last heartbeat of each part of the daemon; infinite: there has never been one."""
    beats = instance.get_daemon_heartbeats()
    return {
        name: now.timestamp() - beats[name].timestamp if name in beats else math.inf
        for name in sorted(instance.get_required_daemon_types())
    }


@dataclass
class Installation(contextlib.AbstractContextManager["Installation"]):
    """What there is to examine; what has been opened is closed at the end of the block.

    Args:
        repository: the jobs, sensors and schedules that there should be.
        purpose: what for, as the server shows it.
        now: aware.
        open_instance: opens Dagster's storage.
    """

    settings: Settings
    catalog: Catalog
    repository: dg.RepositoryDefinition
    purpose: str
    now: datetime
    open_instance: Callable[[Settings], AbstractContextManager[dg.DagsterInstance]] = dagster_instance
    _opened: ExitStack = field(default_factory=ExitStack)

    def __exit__(self, *_: object) -> None:
        """Close what has been opened."""
        self._opened.close()

    @cached_property
    def connection(self) -> Connection:
        """To the warehouse database, in autocommit mode."""
        return self._opened.enter_context(Database().connect(self.purpose))

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance."""
        return self._opened.enter_context(self.open_instance(self.settings))

    def newest_runs(self, job_name: str, status: dg.DagsterRunStatus, limit: int) -> Sequence[dg.RunRecord]:
        """The newest runs of a job that ended so; not those of others that share Dagster's storage."""
        own = self.repository.get_job(INGEST).run_tags
        return self.instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=[status], tags=own), limit=limit)

    @cached_property
    def check_results(self) -> list[tuple[dg.AssetCheckEvaluation, dg.EventLogEntry]]:
        """The newest result of each asset check that has one, and its event."""
        return list(newest_check_results(self.instance, check_keys(self.catalog)))

    @cached_property
    def inbox(self) -> InboxScan:
        """What is in the inbox."""
        return scan(self.settings.inbox_dir)

    @cached_property
    def automations(self) -> list[tuple[Any, Sequence[Any]]]:
        """The state of each sensor and schedule that Dagster knows, and its newest ticks; their types are private."""
        # An instance in memory keeps none.
        states = self.instance.all_instigator_state() if self.instance.schedule_storage else []
        return [
            (state, self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS))
            for state in states
        ]

    @property
    def waiting(self) -> int:
        """How many files there are in it."""
        return len(self.inbox.files)

    @property
    def free_gb(self) -> float:
        """What is free on the disk of the home."""
        return shutil.disk_usage(self.settings.home).free / 1e9

    @property
    def server(self) -> str:
        """The server's version, as in 18.6."""
        version = self.connection.info.server_version
        return f"{version // 10000}.{version % 10000}"

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life of the part of the daemon that has been silent for longest."""
        return max(heartbeat_ages(self.instance, self.now).values())
