"""Dagster's history in its real PostgreSQL storage: old runs go, and the UI still knows the newest of everything."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.operations.retention import Deleted, Limits, delete_runs

DAYS = dg.DailyPartitionsDefinition("2025-12-01", end_date="2025-12-20")
DAY, VIEW = dg.AssetKey("day"), dg.AssetKey("view")
CHECK = dg.AssetCheckKey(VIEW, "good")
TABLES = ("event_logs", "asset_check_executions", "runs", "run_tags")


@dg.asset(partitions_def=DAYS)
def day(context: dg.AssetExecutionContext):
    context.log.info("a line that nobody reads after months")


@dg.asset(check_specs=[dg.AssetCheckSpec("good", asset=VIEW)])
def view():
    print("captured")  # noqa: T201
    return dg.MaterializeResult(metadata={"rows": 1}, check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(partitions_def=DAYS)
def fails():
    raise dg.Failure("on purpose")


@pytest.fixture
def instance(storage, settings, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", storage)
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance


def run(instance, *assets, partition=None):
    """Materialize and return the run's number."""
    result = dg.materialize(list(assets), instance=instance, partition_key=partition, raise_on_error=False)
    return result.run_id


def later():
    return datetime.now(UTC) + timedelta(hours=1)


def runs(instance):
    return {record.run_id for record in instance.get_runs()}


def rows(storage):
    with psycopg.connect(storage) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def partition_map(instance):
    """What the UI draws, computed from the events and not taken from its cache."""
    instance.wipe_asset_cached_status([DAY])
    value = get_and_update_asset_status_cache_value(instance, DAY, DAYS)
    return (
        instance.get_materialized_partitions(DAY),
        value.deserialize_materialized_partition_subsets(DAYS).get_partition_keys(),
        value.deserialize_failed_partition_subsets(DAYS).get_partition_keys(),
    )


def test_the_newest_of_each_partition_asset_and_check_stays_readable(instance):
    days = ["2025-12-01", "2025-12-02", "2025-12-01", "2025-12-03"]
    first, *others = [run(instance, day, partition=key) for key in days]
    old_view, new_view = run(instance, view), run(instance, view)
    newest = {key: instance.get_latest_materialization_event(key).timestamp for key in (DAY, VIEW)}
    shown = partition_map(instance)

    assert delete_runs(instance, later(), Limits()) == Deleted(2)

    assert runs(instance) == {*others, new_view}
    assert not {first, old_view} & runs(instance)
    assert partition_map(instance) == shown
    assert shown[0] == set(days)
    assert {key: instance.get_latest_materialization_event(key).timestamp for key in (DAY, VIEW)} == newest
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])[CHECK]
    assert (latest.run_id, latest.evaluation.passed) == (new_view, True)
    assert {record.run_id for record in instance.fetch_materializations(DAY, limit=10).records} == set(others)


def test_deleting_a_run_that_is_needed_would_lose_its_day(instance):
    """Why such a run stays: Dagster has the map from the events of runs and nowhere else."""
    needed = run(instance, day, partition="2025-12-01")

    instance.delete_run(needed)

    assert instance.get_materialized_partitions(DAY) == set()


def test_a_partition_that_failed_is_still_shown_as_failed(instance):
    run(instance, fails, partition="2025-12-01")
    newest = run(instance, fails, partition="2025-12-01")

    assert delete_runs(instance, later(), Limits()) == Deleted(1)

    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        dg.AssetKey("fails")
    )
    assert {key: run_id for key, (run_id, _) in attempts.items()} == {"2025-12-01": newest}


def test_nothing_of_a_deleted_run_is_left(instance, storage, settings):
    run(instance, view)
    before = rows(storage)
    new = run(instance, view)

    delete_runs(instance, later(), Limits())

    assert rows(storage) == before
    with psycopg.connect(storage) as connection:
        for table in TABLES:
            assert set(connection.execute(f"SELECT run_id FROM {table}").fetchall()) <= {(new,)}
    assert {path.name for path in Path(settings.dagster_home, "storage").iterdir()} - {"view"} == {new}


def test_young_runs_and_runs_under_way_stay(instance):
    for _ in range(2):
        run(instance, view)
    instance.create_run_for_job(dg.define_asset_job("j").resolve(asset_graph=graph()), status=DagsterRunStatus.STARTED)

    assert delete_runs(instance, datetime.now(UTC) - timedelta(days=1), Limits()) == Deleted(0)
    assert delete_runs(instance, later(), Limits()) == Deleted(1)
    assert DagsterRunStatus.STARTED in {found.status for found in instance.get_runs()}


def graph():
    return dg.Definitions(assets=[view]).resolve_asset_graph()


def test_one_run_deletes_the_oldest_and_the_next_continues(instance):
    ids = [run(instance, view) for _ in range(4)]

    assert delete_runs(instance, later(), Limits(runs=2)) == Deleted(2, more=True)
    assert runs(instance) == set(ids[2:])
    assert delete_runs(instance, later(), Limits(seconds=0)) == Deleted(0, more=True)
    assert delete_runs(instance, later(), Limits(runs=2)) == Deleted(1)
