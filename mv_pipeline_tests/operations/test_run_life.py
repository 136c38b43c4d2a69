"""Runs in processes of their own, and whether the sensor takes them for dead: with real kills, signals and sessions."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.context import ForkServerContext, ForkServerProcess

import dagster as dg
import psycopg
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.database.connection import Connection
from mv_pipeline.definitions import defs
from mv_pipeline.operations.health import waiting_files
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.problem import HealthProblem
from mv_pipeline.settings import TIME_ZONE, Settings, load_settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import LONG, create_database, drop_database
from mv_pipeline_tests.factory import csv_text, drop, line
from mv_pipeline_tests.processes import TIMEOUT_S, wait_for

KIND = "shogun_final_receive"
ENDS = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}


def refresh(environment: dict[str, str]) -> None:
    """Refresh a view by the command, in a process of its own."""
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(call_command("refresh", "mart.mv_yard_daily").returncode)


@dataclass
class Plant:
    """An installation with a storage for Dagster, a run in it that waits for a lock, and the sensor that looks on."""

    connection: Connection
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    context: ForkServerContext
    process: ForkServerProcess | None = None

    def start_run(self, **variables: str) -> str:
        """Start a run in a process of its own; returns its id when it has begun to work."""
        environment = {**os.environ, **variables}
        self.process = process = self.context.Process(target=refresh, args=(environment,), daemon=True)
        process.start()

        def begun() -> str | None:
            assert process.is_alive(), "the run has ended before"
            for run in self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                if self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START):
                    return run.run_id
            return None

        return wait_for("the run has begun", begun)

    def tick(self) -> str | None:
        """Let the sensor that ends dead runs look once, then the one that starts new ones; returns what that says."""
        messages = []
        for name in ("alerts", "changes"):
            with dg.build_sensor_context(instance=self.instance, definitions=self.definitions) as context:
                sensor = self.definitions.get_repository_def().get_sensor_def(name)
                messages.append(sensor.evaluate_tick(context).skip_message)
        return messages[-1]

    def ends(self, run_id: str) -> list[str]:
        """Every end that was written down of a run, and its status."""
        events = self.instance.all_logs(run_id, of_type=ENDS)
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return [*(event.get_dagster_event().event_type.value for event in events), run.status.value]

    def signs(self, run_id: str) -> list[int]:
        """The processes of the sessions that are a run's sign of life."""
        name = f"mv_pipeline run {run_id}"
        rows = self.connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [name])
        return [pid for (pid,) in rows]


@pytest.fixture
def plant(settings: Settings, connection: Connection, storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """An installation whose sensor needn't wait long before it looks at a run."""
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", storage)
    monkeypatch.setattr("mv_pipeline.operations.run_life._FIRST_SIGN_S", 0.0)
    prepare_dagster_home(settings)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        made = Plant(connection, instance, defs(), multiprocessing.get_context("forkserver"))
        made.context.set_forkserver_preload([__name__])
        yield made
        if made.process:
            made.process.kill()
            made.process.join(TIMEOUT_S)


@pytest.fixture
def held(connection: Connection) -> Iterator[Callable[[], None]]:
    """Let runs wait in the rollup; gives what lets them go."""
    with psycopg.connect(connection.info.dsn) as holder:
        holder.execute("SELECT FROM log.rollup FOR UPDATE")
        yield holder.rollback


def finish(plant: Plant, held: Callable[[], None]) -> None:
    held()
    assert plant.process is not None
    plant.process.join(TIMEOUT_S)
    assert plant.process.exitcode == 0


def test_a_run_whose_process_was_killed_is_ended_once(plant, held, monkeypatch):
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    run_id = plant.start_run()
    assert plant.tick() == f"Run {run_id} is under way; what it leaves is refreshed after it."
    plant.process.kill()
    plant.process.join(TIMEOUT_S)
    wait_for("the server has noticed", lambda: not plant.signs(run_id))

    plant.tick()
    plant.tick()

    assert plant.ends(run_id) == ["PIPELINE_FAILURE", "FAILURE"]


@pytest.mark.skipif(not LONG, reason="that files which wait for it are told includes it")
def test_a_run_that_is_stopped_lives(plant, held, monkeypatch):
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    run_id = plant.start_run()
    os.kill(plant.process.pid, signal.SIGSTOP)

    assert "is under way" in plant.tick()

    os.kill(plant.process.pid, signal.SIGCONT)
    finish(plant, held)
    assert plant.ends(run_id) == ["PIPELINE_SUCCESS", "SUCCESS"]


@pytest.mark.parametrize("setting", ["", *(["idle_session_timeout = '300ms'"] if LONG else [])])
def test_a_session_that_is_lost_is_renewed(plant, held, connection, setting):
    if setting:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}")
    run_id = plant.start_run()
    (before,) = wait_for("the sign of life", lambda: plant.signs(run_id))
    connection.execute("SELECT pg_terminate_backend(%s)", [before])

    assert "is under way" in plant.tick()

    (after,) = wait_for("the sign of life is back", lambda: plant.signs(run_id))
    assert after != before
    finish(plant, held)
    assert plant.ends(run_id) == ["PIPELINE_SUCCESS", "SUCCESS"]
    wait_for("the sign of life has ended", lambda: not plant.signs(run_id))


def test_a_run_whose_end_is_not_written_yet_lives(plant, held, storage, monkeypatch):
    """The work is done and its resources are gone, but the storage is slow."""
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    run_id = plant.start_run()
    with psycopg.connect(storage) as slow:
        slow.execute("SELECT FROM runs WHERE run_id = %s FOR UPDATE", [run_id])
        held()
        wait_for("the end waits", lambda: waits_for_a_lock(storage))
        for _ in range(3):
            assert "is under way" in plant.tick()
        slow.rollback()
    finish(plant, held)

    assert plant.ends(run_id) == ["PIPELINE_SUCCESS", "SUCCESS"]


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return bool(connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())


def test_a_run_that_ends_while_it_is_looked_for_is_left_as_it_is(plant, held, monkeypatch):
    run_id = plant.start_run()
    looked = threading.Event()

    def look(connection: Connection, purpose: str) -> dict[str, int]:
        """Nobody lives, but this is said only after the run has ended."""
        looked.set()
        wait_for("the run has ended", lambda: not plant.process.is_alive())
        return {}

    monkeypatch.setattr("mv_pipeline.operations.run_life.sessions", look)
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.0)
    sensor = threading.Thread(target=plant.tick)
    sensor.start()
    assert looked.wait(TIMEOUT_S)
    held()
    sensor.join(TIMEOUT_S)

    assert plant.ends(run_id) == ["PIPELINE_SUCCESS", "SUCCESS"]


def test_the_run_of_another_installation_is_neither_waited_for_nor_ended(
    plant, held, server, template, tmp_path_factory, monkeypatch
):
    """It shares Dagster's storage, has a database of its own, and its process is gone."""
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    url = create_database(server, template)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM log.rollup FOR UPDATE")
        home = tmp_path_factory.mktemp("other")
        run_id = plant.start_run(MV_PIPELINE_DATABASE_URL=url, MV_PIPELINE_HOME=str(home))
        plant.process.kill()
        plant.process.join(TIMEOUT_S)

    assert plant.tick() == "Every view is fresh."

    assert plant.ends(run_id) == ["STARTED"]
    drop_database(server, url)


def waiting(plant: Plant, catalog: Catalog, minutes: int) -> list[HealthProblem]:
    """The problem of files that wait, as it is in so many minutes."""
    now = datetime.now(TIME_ZONE) + timedelta(minutes=minutes)
    repository = plant.definitions.get_repository_def()
    with Installation(load_settings(), catalog, repository, "test", now) as installation:
        return [*waiting_files(installation)]


def test_files_that_wait_for_a_stopped_run_are_told_with_its_name(plant, held, catalog, settings, monkeypatch):
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    run_id = plant.start_run()
    os.kill(plant.process.pid, signal.SIGSTOP)
    for name in ("first.csv", "second.csv"):
        drop(settings.inbox_dir, KIND, name, csv_text([line(KIND)]))
    # As `cp -p` leaves it.
    os.utime(settings.inbox_dir / KIND / "second.csv", (1, 1))

    assert waiting(plant, catalog, 4) == []
    (problem,) = waiting(plant, catalog, 6)
    assert "is under way" in plant.tick()

    assert problem.title == f"2 files have been waiting in the inbox for minutes, the oldest is {KIND}/first.csv"
    assert f"run {run_id} (session {plant.signs(run_id)[0]})" in problem.happened
    assert "受入ダッシュボード (inbound)" in problem.means


def test_files_that_wait_for_a_session_are_told_with_its_name(plant, catalog, settings, connection):
    drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(KIND)]))
    with (
        psycopg.connect(connection.info.dsn, application_name="web") as writer,
        psycopg.connect(connection.info.dsn, application_name="dashboard") as reader,
    ):
        writer.execute(f"UPDATE stg.{KIND} SET is_deleted = true")
        reader.execute(f"SELECT FROM stg.{KIND}")

        (problem,) = waiting(plant, catalog, 6)

        assert "Runs at work: none." in problem.happened
        assert f"postgres (web, pid {writer.info.backend_pid}) since 00:0" in problem.happened
        assert "its newest statement began at " in problem.happened
        assert "dashboard" not in problem.happened
    (problem,) = waiting(plant, catalog, 6)
    assert "Nobody holds them any more." in problem.happened


def test_a_run_that_is_starting_is_not_given_up(plant):
    job = plant.definitions.resolve_job_def("ingest")
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING):
        run = plant.instance.create_run_for_job(job, status=status, tags=job.run_tags)

        assert f"Run {run.run_id} is under way" in plant.tick()

        plant.instance.delete_run(run.run_id)


def test_dagster_itself_gives_a_run_a_quarter_of_an_hour_to_start(plant):
    assert plant.instance.run_monitoring_start_timeout_seconds == 900


def test_a_reader_cannot_give_a_sign_of_life(plant, held, connection, monkeypatch):
    monkeypatch.setattr("mv_pipeline.operations.run_life._GONE_S", 0.5)
    run_id = plant.start_run()
    plant.process.kill()
    plant.process.join(TIMEOUT_S)
    reader = f"reader_{time.time_ns()}"
    connection.execute(f"CREATE ROLE {reader} LOGIN")
    with contextlib.ExitStack() as stack:
        stack.callback(connection.execute, f"DROP ROLE {reader}")
        url = connection.info.dsn.replace("user=postgres", f"user={reader}")
        stack.enter_context(psycopg.connect(url, application_name=f"mv_pipeline run {run_id}"))
        wait_for("the server has noticed", lambda: len(plant.signs(run_id)) == 1)

        plant.tick()

    assert plant.ends(run_id) == ["PIPELINE_FAILURE", "FAILURE"]
