"""Connections: what their errors mean, and what is set on them."""

import psycopg
import pytest

from mv_pipeline.database import is_transient, limit_waits


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


def test_connections_say_whose_they_are(connection):
    assert connection.execute(
        "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ).fetchone() == ("mv_pipeline",)
