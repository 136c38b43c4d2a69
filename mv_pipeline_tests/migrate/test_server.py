"""A server or database that the pipeline can't work with: said with the way out, before anything is touched."""

import os
import tempfile
from pathlib import Path

import psycopg
import pytest

from mv_pipeline.database.embedded import running_server
from mv_pipeline.migrate.plan import plan
from mv_pipeline.migrate.server import find_faults
from mv_pipeline.settings import Settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import create_database, database_name, drop_database
from mv_pipeline_tests.database.pooler import pooler

FIRST = "Nothing was changed, because this has to be fixed first:"


def said_by(command, **variables):
    """What a command says of a database that it refuses."""
    done = call_command(*command, **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def is_untouched(url):
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('log', 'raw', 'stg', 'mart')"
        return connection.execute(query).fetchone() == (0,)


COMMANDS = pytest.mark.parametrize("command", [["migrate"], ["migrate", "--plan"], ["doctor"]], ids=" ".join)


@pytest.fixture(scope="module")
def in_another_encoding(server):
    name = "test_euc"
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'EUC_JP' LOCALE 'C'")
    url = f"postgresql://postgres@/{name}?host={server.server_dir}"
    yield url
    drop_database(server, url)


@COMMANDS
def test_another_encoding(settings, in_another_encoding, command):
    text = said_by(command, MV_PIPELINE_DATABASE_URL=in_another_encoding)

    assert "The database's encoding is EUC_JP, which can't hold every text; UTF8 is needed" in text
    assert "CREATE DATABASE … ENCODING 'UTF8'" in text
    assert is_untouched(in_another_encoding)


@COMMANDS
def test_a_database_of_a_newer_version(settings, connection, command):
    connection.execute("UPDATE log.mv_pipeline_version SET version_num = '9999'")

    text = said_by(command)

    assert "The database was migrated to revision 9999 by a newer version of mv-pipeline" in text
    assert "Install that version" in text


@COMMANDS
@pytest.mark.parametrize(
    ("ignores_options", "told"),
    [
        (False, "unsupported startup parameter: options. A connection pooler such as PgBouncer answers there"),
        (True, "The session isn't the server's own, and has other settings: "),
    ],
    ids=["options refused", "options ignored"],
)
def test_a_pooler(server, command, ignores_options, told, settings):
    url = create_database(server)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database_name(url)} SET DateStyle = German")
    with pooler(server.server_dir, ignores_options=ignores_options) as port:
        there = f"postgresql://postgres@127.0.0.1:{port}/{database_name(url)}"
        text = said_by(command, MV_PIPELINE_DATABASE_URL=there)

    assert told in text
    assert "Name the server's own address in the URL" in text
    # What needs no database is examined all the same.
    assert ("GB are free" in text) == (command == ["doctor"])
    assert is_untouched(url)
    drop_database(server, url)


def test_our_own_sessions_have_no_fault(connection):
    assert find_faults(connection) == []


@pytest.fixture(scope="module")
def standby():
    """The URL of a server that follows another one, which isn't there at the moment."""
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", database_url=None, dagster_url=None)
        with running_server(settings):
            pass
        signal = settings.server_dir / "standby.signal"
        signal.touch()
        owner = settings.server_dir.stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        with running_server(settings):
            yield settings.resolved_database_url()


@COMMANDS
def test_a_standby(settings, command, standby):
    text = said_by(command, MV_PIPELINE_DATABASE_URL=standby)

    assert "The server is a standby, which takes no writes" in text


def test_a_newer_server_is_a_remark(database, catalog, monkeypatch):
    monkeypatch.setattr("mv_pipeline.migrate.server._NEWEST_TESTED", 15)

    told = "; this version was tested with 16 to 15. Look for a newer version of mv-pipeline."
    assert any(remark.endswith(told) for remark in plan(database, catalog).remarks)


def test_an_older_server_is_refused(settings, monkeypatch):
    monkeypatch.setattr("mv_pipeline.migrate.server._OLDEST", 99)

    for command in (["migrate"], ["migrate", "--plan"], ["doctor"]):
        assert "; 99 or later is needed" in said_by(command)


def test_all_tables_may_be_published(settings, connection):
    """Every table that the pipeline changes has a key, or publishes whole rows."""
    connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")

    assert call_command("migrate", "--plan").returncode == 0
    assert call_command("refresh", "--all", "--full").returncode == 0


@COMMANDS
def test_published_tables_without_a_key(settings, connection, command):
    connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    connection.execute("ALTER TABLE log.rollup_day REPLICA IDENTITY DEFAULT")

    text = said_by(command)

    assert "The publication everything publishes updates and deletions of tables without a key: log.rollup_day" in text
    assert "ALTER TABLE … REPLICA IDENTITY FULL for each of them" in text


def test_all_tables_of_dagster_may_be_published(settings, storage):
    with psycopg.connect(storage, autocommit=True) as connection:
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")

    assert call_command("refresh", "--all", MV_PIPELINE_DAGSTER_URL=storage).returncode == 0


def elsewhere(settings, name):
    return settings.resolved_database_url().replace(f"/{database_name(settings.resolved_database_url())}?", f"/{name}?")


def test_a_missing_database_of_dagster_is_planned_and_created(settings, server):
    url = elsewhere(settings, "test_dagster_missing")

    doctor = said_by(["doctor"], MV_PIPELINE_DAGSTER_URL=url)
    planned = call_command("migrate", "--plan", MV_PIPELINE_DAGSTER_URL=url)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    done = call_command("migrate", MV_PIPELINE_DAGSTER_URL=url)

    assert "`mv-pipeline migrate` creates a database of Dagster that is missing" in doctor
    assert "create the database test_dagster_missing for Dagster" in planned.stdout
    assert done.returncode == 0, done.stderr
    psycopg.connect(url).close()
    drop_database(server, url)


@pytest.mark.parametrize("command", [["migrate"], ["migrate", "--plan"]], ids=" ".join)
def test_a_missing_database_of_dagster_that_cannot_be_created(settings, server, command):
    """Said first: the warehouse isn't migrated by half."""
    fresh = create_database(server)
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE mp_modest LOGIN")
        connection.execute(f"ALTER DATABASE {database_name(fresh)} OWNER TO mp_modest")
    urls = {
        "MV_PIPELINE_DATABASE_URL": fresh.replace("postgres@", "mp_modest@"),
        "MV_PIPELINE_DAGSTER_URL": elsewhere(settings, "test_dagster_missing").replace("postgres@", "mp_modest@"),
    }

    text = said_by(command, **urls)

    assert "The database “test_dagster_missing” for Dagster is missing and this role can't create it." in text
    assert is_untouched(fresh)
    drop_database(server, fresh)
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute("DROP ROLE mp_modest")
