"""The only use of Dagster's private modules; what is here says which public way is missing."""

from collections.abc import Iterator, Sequence

import dagster as dg
import sqlalchemy as sa

# The name of the job behind an asset's page: runs of it are known by nothing else.
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

# Whether a sensor or schedule is on, and what its ticks said: the public instance gives both, but not their types.
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, ScheduleInstigatorData, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

# The newest runs of each job in one query: publicly that is a query for each job.
from dagster._core.storage.dagster_run import JobBucket
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable

# When a schedule was last due, by the rules by which the daemon itself evaluates it.
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = [
    "IMPLICIT_ASSET_JOB_NAME",
    "AssetCheckExecutionRecord",
    "InstigatorState",
    "InstigatorTick",
    "JobBucket",
    "ScheduleInstigatorData",
    "TickStatus",
    "delete_check_results",
    "newest_check_results",
    "reverse_cron_string_iterator",
    "runs_with_newest_events",
]

_SHOWN_IN_THE_UI = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
)


def newest_check_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Iterator[AssetCheckExecutionRecord]:
    """Each check's newest result; one query, and another one for each check that a run is just about to make.

    Publicly, results are only events of a run whose number one already knows.
    """
    storage = instance.event_log_storage
    for key, record in sorted(storage.get_latest_asset_check_execution_by_key(keys).items()):
        if record.status in COMPLETED:
            yield record
        else:
            yield from storage.get_asset_check_execution_history(key, limit=1, status=COMPLETED)


def runs_with_newest_events(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event of any asset or partition, or the newest result of a check.

    Publicly, that is a query for each asset and each of its partitions.
    """
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    newest_events = (
        sa.select(sa.func.max(events.id))
        .where(events.asset_key.is_not(None), events.dagster_event_type.in_([kind.value for kind in _SHOWN_IN_THE_UI]))
        .group_by(events.asset_key, events.dagster_event_type, events.partition)
    )
    newest_checks = (
        sa.select(sa.func.max(checks.id))
        .where(checks.execution_status.in_([status.value for status in COMPLETED]))
        .group_by(checks.asset_key, checks.check_name, checks.partition)
    )
    with _storage(instance).index_connection() as connection:
        rows = connection.execute(
            sa.union(
                sa.select(events.run_id).where(events.id.in_(newest_events)),
                sa.select(checks.run_id).where(checks.id.in_(newest_checks)),
            )
        )
        return {run_id for (run_id,) in rows}


def delete_check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete the check results of these runs: deleting a run leaves them behind, and nothing public deletes them."""
    with _storage(instance).index_connection() as connection:
        connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id.in_(run_ids)))


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"Dagster's events lie in {type(storage).__name__}; a SQL database is needed.")
    return storage
