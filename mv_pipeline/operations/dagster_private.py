"""The only use of Dagster's private modules; what is here says which public way is missing."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._utils.schedules import reverse_cron_string_iterator


def newest_check_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetCheckEvaluation, dg.EventLogEntry]]:
    """Each check's newest result and its event; one query, and another one for each check that a run is about to make.

    Publicly, results are only events of a run whose number one already knows.
    """
    storage = instance.event_log_storage
    for key, record in sorted(storage.get_latest_asset_check_execution_by_key(keys).items()):
        completed = (
            [record]
            if record.status in COMPLETED
            else storage.get_asset_check_execution_history(key, limit=1, status=COMPLETED)
        )
        yield from ((found.evaluation, found.event) for found in completed if found.evaluation and found.event)


def runs_with_newest_events(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event of any asset or partition, or the newest result of a check.

    Publicly, that is a query for each asset and each of its partitions.
    """
    query = sa.text(
        "SELECT run_id FROM event_logs WHERE id IN (SELECT max(id) FROM event_logs WHERE asset_key IS NOT NULL "
        "AND dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_MATERIALIZATION_PLANNED', "
        "'ASSET_FAILED_TO_MATERIALIZE') GROUP BY asset_key, dagster_event_type, partition) "
        "UNION SELECT run_id FROM asset_check_executions WHERE id IN (SELECT max(id) FROM asset_check_executions "
        "WHERE execution_status IN ('SUCCEEDED', 'FAILED') GROUP BY asset_key, check_name, partition)"
    )
    with _storage(instance).index_connection() as connection:
        return set(connection.scalars(query))


def delete_check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete the check results of these runs: deleting a run leaves them behind, and nothing public deletes them."""
    query = sa.text("DELETE FROM asset_check_executions WHERE run_id IN :run_ids")
    with _storage(instance).index_connection() as connection:
        connection.execute(query.bindparams(sa.bindparam("run_ids", list(run_ids), sa.String, expanding=True)))


def last_due(schedule: dg.ScheduleDefinition, before: datetime) -> datetime:
    """When a schedule was last due, by the rules by which the daemon evaluates it; nothing public says it."""
    cron = str(schedule.cron_schedule)
    return next(reverse_cron_string_iterator(before.timestamp(), cron, schedule.execution_timezone))


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"Dagster's events lie in {type(storage).__name__}; a SQL database is needed.")
    return storage
