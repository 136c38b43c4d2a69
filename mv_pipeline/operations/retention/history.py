"""Old runs of Dagster with their events, checks and captured output; Dagster itself never deletes any.

Deleting a run deletes its materializations too, and with them days from the partition map and the newest numbers of an
asset's page. So a run stays, whole, as long as it holds the newest event of its type of any asset or partition, or the
newest result of a check.
"""

from datetime import datetime

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable

from mv_pipeline.operations.retention.limits import Deleted, Limits

_BATCH = 100
_SHOWN_IN_THE_UI = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
)


def delete_runs(instance: dg.DagsterInstance, before: datetime, limits: Limits) -> Deleted:
    """Delete finished runs that nothing has happened to since a time, the oldest first.

    Args:
        instance: Dagster's, with its storage in a SQL database.
        before: aware.
        limits: of this night.
    """
    finished = instance.get_run_ids(dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before))
    kept = needed_runs(instance)
    old = [run_id for run_id in reversed(finished) if run_id not in kept]
    count = 0
    for start in range(0, min(len(old), limits.runs), _BATCH):
        if not limits.left_s:
            break
        batch = old[start : min(start + _BATCH, limits.runs)]
        _delete_check_results(instance, batch)
        for run_id in batch:
            _delete_run(instance, run_id)
        count += len(batch)
    return Deleted(count, more=count < len(old))


def needed_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event of any asset or partition, or the newest result of a check."""
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


def _delete_check_results(instance: dg.DagsterInstance, run_ids: list[str]) -> None:
    """Delete the results of checks, which Dagster leaves behind; many runs' at once, as no index leads to a run's."""
    with _storage(instance).index_connection() as connection:
        connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id.in_(run_ids)))


def _delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run; its own row goes last, so that the next night finds again what a crash has left."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.delete_run(run_id)


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"Dagster's events lie in {type(storage).__name__}; a SQL database is needed.")
    return storage
