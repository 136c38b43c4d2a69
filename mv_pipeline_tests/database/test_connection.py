"""Connections: what their errors mean, and what each says in pg_stat_activity that it is for."""

import re

import psycopg
import pytest

from mv_pipeline.database.connection import Database, is_transient, limit_waits
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import create_database, database_name, drop_database
from mv_pipeline_tests.factory import csv_text, line

USER = "md_superuser"


def test_a_connection_says_what_it_is_for(database, connection):
    with database.connect("refresh mart.mv_receive_daily"):
        names = connection.execute(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()

    assert names == [("mv_pipeline refresh mart.mv_receive_daily",)]


@pytest.mark.parametrize("lend", [Database.connect, Database.transaction])
def test_both_ways_to_lend_one_name_it(database, lend):
    with lend(database, "doctor") as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("mv_pipeline doctor",)


@pytest.fixture
def connections(server):
    """The names of all connections that a user of the test's own has opened, from the server's log."""
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN")
        connection.execute("ALTER SYSTEM SET log_connections = on")
        connection.execute("SELECT pg_reload_conf()")

    def read():
        log = (server.server_dir / "log").read_text(encoding="utf-8", errors="replace")
        lines = re.findall(rf"connection authorized: user={USER} database=(\S+)(?: application_name=(.*))?", log)
        return {database: {name for other, name in lines if other == database} for database, _ in lines}

    yield read
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET log_connections")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"DROP ROLE {USER}")


def test_every_connection_of_a_migration_and_an_upload_has_a_name(connections, server, storage, settings, tmp_path):
    warehouse = create_database(server)
    path = tmp_path / "list.csv"
    path.write_text(csv_text([line("shogun_final_yard")]), encoding="cp932", newline="")
    urls = {
        "MV_PIPELINE_DATABASE_URL": warehouse.replace("postgres@", f"{USER}@"),
        "MV_PIPELINE_DAGSTER_URL": storage.replace("postgres@", f"{USER}@"),
    }

    for arguments in (["migrate"], ["ingest", "--kind", "shogun_final_yard", path], ["status"], ["doctor"]):
        done = call_command(*arguments, **urls)
        assert done.returncode == 0, done.stderr

    names = connections()
    in_warehouse, in_storage = (names[database_name(url)] for url in (warehouse, storage))
    drop_database(server, warehouse)
    assert in_warehouse >= {
        "mv_pipeline migrate",
        "mv_pipeline session",
        "mv_pipeline ingest",
        "mv_pipeline intake shogun_final_yard",
        "mv_pipeline roll up mart.rollup_shogun_final_yard",
        "mv_pipeline refresh mart.mv_yard_daily",
        "mv_pipeline check mart.mv_yard_daily",
        "mv_pipeline status",
        "mv_pipeline doctor",
    }
    assert in_storage == {"mv_pipeline dagster", "mv_pipeline doctor", "mv_pipeline version"}
    assert all(name.startswith("mv_pipeline ") for name in in_warehouse)


def lost_connection(connection, other):
    other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    connection.execute("SELECT 1")


def connection_closed_by_the_client(connection, other):
    connection.close()
    connection.execute("SELECT 1")


def lock_timeout(connection, other):
    with other.transaction():
        other.execute("LOCK TABLE log.upload_file")
        connection.execute("SET lock_timeout = '10ms'")
        connection.execute("TABLE log.upload_file")


def serialization_failure(connection, other):
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("TABLE log.relation")
        other.execute("UPDATE log.relation SET created_at = now()")
        connection.execute("UPDATE log.relation SET created_at = now()")


def statement_timeout(connection, other):
    connection.execute("SET statement_timeout = '10ms'")
    connection.execute("SELECT pg_sleep(5)")


def division_by_zero(connection, other):
    connection.execute("SELECT 1 / 0")


def missing_table(connection, other):
    connection.execute("TABLE mart.no_such")


@pytest.mark.parametrize(
    ("cause", "transient"),
    [
        (lost_connection, True),
        (connection_closed_by_the_client, True),
        (lock_timeout, True),
        (serialization_failure, True),
        (statement_timeout, False),
        (division_by_zero, False),
        (missing_table, False),
    ],
)
def test_what_may_pass_by_itself_is_transient(database, connection, cause, transient):
    with database.open(autocommit=True) as failing, pytest.raises(psycopg.Error) as caught:
        cause(failing, connection)

    assert is_transient(caught.value) == transient


def test_a_server_that_is_not_there_is_a_transient_error(tmp_path):
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(f"postgresql://postgres@/x?host={tmp_path}")

    assert is_transient(caught.value)


def test_waits_are_bounded_within_the_transaction_only(connection, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_LOCK_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("MV_PIPELINE_STATEMENT_TIMEOUT_SECONDS", "90")
    query = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"

    with connection.transaction():
        limit_waits(connection)
        assert connection.execute(query).fetchone() == ("7s", "90s")
    assert connection.execute(query).fetchone() == ("0", "0")
