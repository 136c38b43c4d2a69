"""Who can keep the intake waiting, for how long, and whom it keeps waiting: with real sessions of other roles."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date

import psycopg
import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.intake import ingest
from mv_pipeline.intake.backfill import derive_days
from mv_pipeline.intake.load import Upload
from mv_pipeline.settings import Settings
from mv_pipeline_tests.factory import csv_text, drop, line, take
from mv_pipeline_tests.processes import wait_for

KIND = "shogun_final_receive"
STG = f"stg.{KIND}"
GOOD = csv_text([line()])
DAY = date(2025, 12, 1)


@pytest.fixture
def reader(connection: Connection) -> Iterator[Connection]:
    """A session of a role that may read everything and write nothing."""
    name = f"reader_{time.time_ns()}"
    connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE pg_read_all_data")
    with psycopg.connect(connection.info.dsn.replace("user=postgres", f"user={name}")) as session:
        yield session
    connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def writer(connection: Connection) -> Iterator[Connection]:
    """A session of the web application's kind: autocommit off, what it has written is open."""
    with psycopg.connect(connection.info.dsn, application_name="web") as session:
        yield session
        session.rollback()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """A wait for a lock lasts 0.3 s."""
    monkeypatch.setenv("MV_PIPELINE_LOCK_TIMEOUT_SECONDS", "0.3")


def count(connection: Connection, what: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {what}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def derive(connection: Connection) -> int:
    with connection.transaction():
        return len(derive_days(connection, find_kind(KIND), DAY, DAY).days)


def test_a_reader_that_holds_all_that_it_can_hold_keeps_nobody_waiting(settings, connection, reader, impatient):
    """Advisory locks by the names that were once used, and what it reads, in a transaction that never ends."""
    for key in (f"intake:{KIND}", f"backfill:{KIND}", "alerts", "migrate"):
        reader.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"mv_pipeline:{key}"])
    for table in (STG, f"raw.{KIND}", "log.upload_file"):
        reader.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")

    assert take(connection, settings, GOOD).status == "loaded"
    assert derive(connection) == 1
    # The days were all derived; a file that is wrong finds its way as well.
    assert take(connection, settings, csv_text([line(net_weight="x")])).status == "rejected"


def test_a_reader_cannot_take_a_lock_that_we_wait_for(reader):
    for table in (STG, "log.rollup", "log.incident", "log.upload_file"):
        for mode in ("ROW SHARE", "ROW EXCLUSIVE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(f"LOCK TABLE {table} IN {mode} MODE NOWAIT")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute(f"SELECT FROM {table} FOR UPDATE")


@pytest.mark.parametrize(
    "work", [lambda settings, connection: take(connection, settings, GOOD), lambda _, c: derive(c)]
)
def test_a_writer_is_waited_for_as_long_as_the_setting_says(settings, connection, writer, impatient, work):
    writer.execute(f"UPDATE {STG} SET is_deleted = true")

    with pytest.raises(psycopg.errors.LockNotAvailable):
        work(settings, connection)

    assert count(connection, "log.upload_file") == count(connection, STG) == 0
    writer.rollback()
    work(settings, connection)


def test_nobody_queues_behind_a_waiting_intake(settings, database, connection, writer):
    """Another writer comes while one writer is waited for."""
    writer.execute(f"UPDATE {STG} SET is_deleted = true")
    with taking(settings, database) as upload:
        connection.execute("SET lock_timeout = '10ms'")
        for _ in range(50):
            connection.execute(f"INSERT INTO {STG} (slip_date) VALUES ('2025-11-01')")
        assert not upload.done()
        writer.rollback()

        assert upload.result().status == "loaded"


@contextlib.contextmanager
def taking(settings: Settings, database: Database, content: str = GOOD) -> Iterator[Future[Upload | None]]:
    """Take a file in another thread, and begin when it waits."""

    def run() -> Upload | None:
        with database.connect("taking") as session:
            return take(session, settings, content)

    with ThreadPoolExecutor(1) as pool, database.connect() as observer:
        upload = pool.submit(run)
        tries = "pg_stat_activity WHERE application_name = 'mv_pipeline taking' AND state LIKE 'idle in transaction%'"
        wait_for("the intake waits", lambda: count(observer, tries))
        yield upload


def test_what_another_writer_commits_while_it_is_waited_for_is_seen(settings, database, connection, writer):
    """One session soft-deletes in a transaction, another one inserts and commits, then the first one commits."""
    take(connection, settings, csv_text([line(net_weight=1)]))
    writer.execute(f"UPDATE {STG} SET is_deleted = true, deleted_by = 'web' WHERE slip_date = %s", [DAY])
    with taking(settings, database, csv_text([line(net_weight=3)])) as upload:
        connection.execute(f"INSERT INTO {STG} (slip_date, net_weight) VALUES (%s, 2)", [DAY])
        writer.commit()

        assert upload.result().status == "loaded"

    active = connection.execute(f"SELECT net_weight FROM {STG} WHERE slip_date = %s AND NOT is_deleted", [DAY])
    assert active.fetchall() == [(3,)]


def test_two_that_reject_the_same_file_report_it_once(settings, database, connection, monkeypatch):
    path = drop(settings.inbox_dir, KIND, "bad.csv", csv_text([line(net_weight="x")]))

    def run() -> Upload | None:
        with database.connect() as session:
            return ingest.take_file(session, settings, find_kind(KIND), path, "tester")

    with ThreadPoolExecutor(8) as pool:
        uploads = [done.result() for done in [pool.submit(run) for _ in range(8)]]

    assert {upload.status for upload in uploads if upload} == {"rejected"}
    assert count(connection, "log.upload_file") == 1
    assert sorted(found.name for found in settings.rejected_dir.rglob("*.csv")) == ["bad.csv", "bad.csv.errors.csv"]


def test_a_file_that_took_the_place_of_a_loaded_one_is_not_moved_unread(settings, connection, monkeypatch):
    """The process was stopped between the commit and the move; meanwhile somebody else has moved the file."""
    archive_folder = ingest.inbox.archive_folder

    def replaced(*args: object) -> object:
        path = settings.inbox_dir / KIND / "a.csv"
        path.rename(path.with_name(".moved"))
        drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(net_weight=2), line(net_weight=3)]))
        return archive_folder(*args)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.inbox, "archive_folder", replaced)
        assert take(connection, settings, csv_text([line(net_weight=1)])).status == "loaded"

    path = settings.inbox_dir / KIND / "a.csv"
    assert path.exists()
    assert ingest.take_file(connection, settings, find_kind(KIND), path, "tester").rows == 2
