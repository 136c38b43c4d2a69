"""What isn't a kill: server, disk, folders, connections and the clock; the job of the sensor meets them, then heals."""

import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from mv_pipeline.database.connection import Database
from mv_pipeline.database.embedded import get_server, running_server
from mv_pipeline.definitions import defs
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import LONG, TODAY
from mv_pipeline_tests.faults.conftest import FaultyPlant
from mv_pipeline_tests.faults.worker import BOUNDARIES
from mv_pipeline_tests.processes import wait_for

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_job(instance: dg.DagsterInstance, run_id: str | None = None) -> dg.ExecuteInProcessResult:
    """Run the sensor's job in this process on whatever lies in the inbox."""
    return (
        defs()
        .resolve_job_def("ingest")
        .execute_in_process(
            instance=instance, raise_on_error=False, run_config=QUIET, run_id=run_id or str(uuid.uuid4())
        )
    )


def boundary(name: str):
    return next(boundary for boundary in BOUNDARIES if boundary.name == name)


@pytest.fixture
def file_system() -> Iterator[object]:
    """Mount small file systems; only root may."""
    mounted: list[Path] = []

    def mount(path: Path, options: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(path)

    def unmount() -> None:
        while mounted:
            subprocess.run(["umount", str(mounted.pop())], check=True)

    mount.undo = unmount
    yield mount
    unmount()


@pytest.mark.parametrize("options", ["size=4k,nr_inodes=3", "ro"], ids=["full", "read-only"])
def test_an_archive_that_takes_no_file(plant, instance, file_system, options):
    plant.outage()
    file_system(plant.settings.archive_dir, options)

    result = run_job(instance)

    assert not result.success
    lying = {path.name for path in plant.settings.inbox_dir.glob("*/*")}
    assert {"first.csv", "second.csv"} & lying
    file_system.undo()
    run_job(instance)
    run_job(instance)
    assert plant.losses() == []


def test_an_archive_that_is_no_folder(plant, instance):
    plant.outage()
    plant.settings.archive_dir.rmdir()
    plant.settings.archive_dir.touch()

    results = [run_job(instance), run_job(instance)]

    assert not any(result.success for result in results)
    plant.settings.archive_dir.unlink()
    run_job(instance)
    assert plant.losses() == []


def test_the_inbox_vanishes_and_comes_back(plant, instance):
    plant.outage()
    moved = plant.settings.home / "moved"
    plant.settings.inbox_dir.rename(moved)

    result = run_job(instance)

    assert not result.success
    moved.rename(plant.settings.inbox_dir)
    run_job(instance)
    assert plant.losses() == []


def test_the_inbox_vanishes_while_a_file_is_taken(plant):
    plant.outage()
    process = plant.start(boundary("file committed, not moved"))
    plant.bury(process)
    moved = plant.settings.home / "moved"
    plant.settings.inbox_dir.rename(moved)
    with pytest.raises(FileNotFoundError):
        plant.tick()

    moved.rename(plant.settings.inbox_dir)
    plant.tick()

    assert plant.losses() == []


def test_no_connection_is_free_for_a_while(plant, instance, monkeypatch):
    plant.outage()
    user = f"limited_{uuid.uuid4().hex[:8]}"
    plant.connection.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 2").format(sql.Identifier(user)))
    for role in ("pg_read_all_data", "pg_write_all_data", "pg_maintain"):
        plant.connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(user)))
    plant.connection.execute(
        sql.SQL("GRANT TEMP ON DATABASE {} TO {}").format(
            sql.Identifier(plant.connection.info.dbname), sql.Identifier(user)
        )
    )
    plant.connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION log.take_over() TO {}").format(sql.Identifier(user)))
    url = plant.settings.resolved_database_url().replace("postgres@", f"{user}@")
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", url)
    run_id = str(uuid.uuid4())
    with psycopg.connect(url) as hog:

        def let_go(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event and event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY:
                hog.close()

        instance.add_event_listener(run_id, let_go)
        result = run_job(instance, run_id)

    assert result.success, [event.message for event in result.get_step_failure_events()]
    assert hog.closed
    assert plant.losses() == []
    plant.connection.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(user)))
    plant.connection.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(user)))


def test_a_reader_idle_in_its_transaction_blocks_nothing(plant, database):
    plant.outage()
    with database.open() as reader:
        reader.execute("SELECT count(*) FROM mart.mv_receive_daily")
        plant.tick()
        reader.rollback()

    assert plant.losses() == []


def test_the_clock_passes_midnight_between_two_refreshes(plant):
    plant.outage()
    process = plant.start(boundary("refresh committed"))
    plant.bury(process)
    name = plant.connection.info.dbname
    plant.connection.execute(f"ALTER DATABASE {name} SET mv_pipeline.business_date = '2025-12-12'")

    plant.tick()

    # Sessions take a database's settings when they begin.
    plant.connection.execute("SET mv_pipeline.business_date = '2025-12-12'")
    assert plant.losses() == []
    newest = plant.connection.execute("SELECT max(ddate)::text FROM mart.mv_receive_daily").fetchone()
    assert newest == (TODAY,)


@pytest.fixture
def own_server(catalog, forkserver, monkeypatch, tally) -> Iterator[FaultyPlant]:
    """A plant on a server that may be stopped."""
    for name in [name for name in os.environ if name.startswith("MV_PIPELINE_")]:
        monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Settings(home=Path(folder) / "home", database_url=None, dagster_url=None)
        with running_server(home):
            url = home.resolved_database_url()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE mv_pipeline SET mv_pipeline.business_date = '{TODAY}'")
            migrate(Database(url=url), catalog)
            settings = home.model_copy(update={"database_url": url, "settle_seconds": 0})
            for name, value in settings.environment().items():
                monkeypatch.setenv(name, value)
            prepare_folders(settings)
            with psycopg.connect(url, autocommit=True) as connection:
                plant = FaultyPlant(settings, connection, catalog, forkserver, tally)
                plant.drop_files()
                yield plant
                plant.connection.close()


def reconnect(plant: FaultyPlant) -> None:
    """Give the plant a connection to the server that has come back."""

    def connect() -> psycopg.Connection | None:
        try:
            return psycopg.connect(plant.settings.resolved_database_url(), autocommit=True)
        except psycopg.OperationalError:
            return None

    plant.connection = wait_for("the server is back", connect)


@pytest.mark.parametrize(
    "name", ["lines typed into stg", "days recomputed", "view refreshed, not logged"] if LONG else ["days recomputed"]
)
def test_the_server_is_stopped_and_started_in_the_middle(own_server, name, forkserver):
    plant = own_server
    plant.outage()
    # The process dies with its transaction open, and the server in the same moment, without time to tidy up.
    process = plant.start(boundary(name))
    process.join()
    server = get_server(plant.settings.server_dir)
    os.kill(server.get_pid(), signal.SIGQUIT)
    wait_for("the server is gone", lambda: not server.get_postmaster_info().is_running())

    with pytest.raises(psycopg.OperationalError):
        plant.tick()

    server.ensure_postgres_running()
    reconnect(plant)
    plant.tick()
    assert plant.losses() == []


def test_a_crash_of_the_server_during_a_run_is_waited_out_by_retries(own_server, instance):
    plant = own_server
    plant.outage()
    run_id = str(uuid.uuid4())
    crashed: list[int] = []

    def crash(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if not crashed and event and event.event_type is dg.DagsterEventType.STEP_START:
            crashed.append(plant.connection.info.backend_pid)
            # One backend's death by SIGKILL makes the server drop all sessions and recover.
            os.kill(plant.connection.info.backend_pid, signal.SIGKILL)

    instance.add_event_listener(run_id, crash)
    result = run_job(instance, run_id)

    assert crashed
    assert result.success, [event.message for event in result.get_step_failure_events()]
    reconnect(plant)
    assert plant.losses() == []
