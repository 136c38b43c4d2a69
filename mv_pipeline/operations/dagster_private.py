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
    query = sa.text(
        "SELECT run_id FROM event_logs WHERE id IN (SELECT max(id) FROM event_logs WHERE asset_key IS NOT NULL "
        "AND dagster_event_type IN :events GROUP BY asset_key, dagster_event_type, partition) "
        "UNION SELECT run_id FROM asset_check_executions WHERE id IN (SELECT max(id) FROM asset_check_executions "
        "WHERE execution_status IN :statuses GROUP BY asset_key, check_name, partition)"
    ).bindparams(
        sa.bindparam("events", [event.value for event in _SHOWN_IN_THE_UI], expanding=True),
        sa.bindparam("statuses", [status.value for status in COMPLETED], expanding=True),
    )
    with _storage(instance).index_connection() as connection:
        return set(connection.scalars(query))


def delete_check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete the check results of these runs: deleting a run leaves them behind, and nothing public deletes them."""
    query = sa.text("DELETE FROM asset_check_executions WHERE run_id IN :run_ids")
    with _storage(instance).index_connection() as connection:
        connection.execute(query.bindparams(sa.bindparam("run_ids", list(run_ids), sa.String, expanding=True)))


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"Dagster's events lie in {type(storage).__name__}; a SQL database is needed.")
    return storage
