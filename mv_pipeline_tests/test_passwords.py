"""A password stays in its URL: no output, no error, no file and nothing that Dagster stores or shows repeats it."""

import traceback

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from mv_pipeline.database.connection import Database
from mv_pipeline.migrate.migrate import MigrateError, migrate
from mv_pipeline.settings import Settings, SettingsError, load_settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import run_command

CANARY = "c4n4ry"
REFUSED = f"postgresql://u:{CANARY}@127.0.0.1:1/plant"
KIND = "shogun_final_receive"
ROLE = "mp_superuser"


@pytest.fixture(scope="module")
def with_password(server):
    """Put a role that has the canary as its password into a URL; the test's work is done as that role."""
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(CANARY))
        )
    yield lambda url: url.replace("postgres@", f"{ROLE}:{CANARY}@")
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


@pytest.fixture
def cli(settings, storage, with_password, capfd, caplog):
    """Call `mv-pipeline` with the password in both URLs; returns exit code and all that it wrote."""
    urls = {
        "MV_PIPELINE_DATABASE_URL": with_password(settings.resolved_database_url()),
        "MV_PIPELINE_DAGSTER_URL": with_password(storage),
    }

    def run(*arguments, **variables):
        done = (run_command if arguments == ("dev",) else call_command)(*arguments, **{**urls, **variables})
        return done.returncode, done.stdout + done.stderr + "".join(capfd.readouterr()) + caplog.text

    return run


def stored(url):
    """Every row of every table of a database, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return "\n".join(
            row[0]
            for table in tables
            for row in connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(*table)))
        )


def files_holding(folder, text):
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_good_and_failed_runs_leave_it_nowhere(cli, settings, storage, connection, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(csv_text([line(KIND)]), encoding="cp932", newline="")
    bad = tmp_path / "bad.csv"
    bad.write_text(csv_text([line(KIND, net_weight="x")]), encoding="cp932", newline="")

    outputs = [cli("migrate"), cli("ingest", "--kind", KIND, path, bad)]
    connection.execute("DROP INDEX mart.mv_yard_daily_key")
    connection.execute("ALTER MATERIALIZED VIEW mart.mv_target_card_per_day RENAME TO hidden")
    outputs += [cli("refresh", "--all"), cli("status"), cli("doctor")]

    assert [code for code, _ in outputs] == [0, 1, 1, 1, 1]
    assert CANARY not in "".join(text for _, text in outputs)
    rows = stored(storage)
    assert "STEP_FAILURE" in rows
    assert CANARY not in rows
    assert CANARY not in stored(settings.resolved_database_url())
    assert files_holding(settings.home, CANARY) == []


@pytest.mark.parametrize(
    "command",
    [("migrate",), ("status",), ("doctor",), ("ingest", "--kind", KIND, "x.csv"), ("refresh", "--all"), ("dev",)],
)
def test_a_refused_connection_does_not_tell(cli, command):
    code, text = cli(*command, MV_PIPELINE_DATABASE_URL=REFUSED, MV_PIPELINE_DAGSTER_URL=REFUSED)

    assert code == 1
    assert "refused" in text
    assert CANARY not in text


@pytest.mark.parametrize("url", ["json://u:{}@127.0.0.1:1/", "slack://{}/{}/{}"])
def test_an_unreachable_receiver_does_not_tell(cli, url):
    code, text = cli("watch", MV_PIPELINE_ALERT_URLS=url.format(*[CANARY] * 3))

    assert (code, "Not reached: 1" in text) == (1, True)
    assert CANARY not in text


def test_unreachable_storage_does_not_tell(cli, retry_at_once):
    code, text = cli("refresh", "--all", MV_PIPELINE_DAGSTER_URL=REFUSED)

    assert code == 1
    assert "refused" in text
    assert CANARY not in text


def test_a_user_that_is_unknown_does_not_tell(cli, settings):
    url = settings.resolved_database_url().replace("postgres@", f"nobody:{CANARY}@")

    code, text = cli("status", MV_PIPELINE_DATABASE_URL=url)

    assert (code, 'role "nobody" does not exist' in text) == (1, True)
    assert CANARY not in text


@pytest.mark.parametrize("character", [*"@/:?#%[] &=+\\", "%zz", "@@", "1/2"])
@pytest.mark.parametrize("url", ["postgresql://u:{}@127.0.0.1:1/plant", "postgresql://u:{}@db.invalid:5432/plant?x=1"])
def test_an_unquoted_password_is_not_taken_for_something_that_is_shown(url, character, monkeypatch):
    """Where an unquoted character cuts a password up, its pieces could be shown as host, port or database."""
    for piece in (f"{CANARY}{character}{CANARY}", f"{character}{CANARY}", f"{CANARY}{character}"):
        monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", url.format(piece))
        try:
            Database().open().close()
        except (SettingsError, psycopg.Error) as error:
            text = "".join(traceback.format_exception(error))
            assert CANARY not in text, text
        else:
            raise AssertionError("There is no such server.")


def test_a_failed_migration_does_not_tell(settings, with_password, catalog):
    database = Database(url=with_password(settings.resolved_database_url()))
    with database.connect() as connection:
        connection.execute("CREATE TABLE mart.x AS TABLE mart.v_receive_daily")
        connection.execute("DROP VIEW mart.v_receive_daily CASCADE")
        connection.execute("ALTER TABLE mart.x RENAME TO v_receive_daily")

    with pytest.raises(MigrateError) as error:
        migrate(database, catalog)

    assert CANARY not in "".join(traceback.format_exception(error.value))


def test_settings_and_database_do_not_show_it():
    alerts = f"json://u:{CANARY}@127.0.0.1:1/"
    settings = Settings(database_url=REFUSED, dagster_url=REFUSED, alert_urls=alerts, alert_office_urls=alerts)

    assert CANARY not in f"{settings!r} {settings} {Database(url=REFUSED)!r} {Database(url=REFUSED)}"


def test_what_dagster_shows_of_its_instance_names_the_variable_only(cli, settings, storage, with_password, monkeypatch):
    cli("status")  # makes DAGSTER_HOME
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", with_password(storage))

    with dg.DagsterInstance.get() as instance:
        # The reference is handed to child processes on their command line, where everyone on the machine can read it.
        shown = f"{instance.info_str()} {instance.get_ref().to_dict()} {instance!r}"

    assert "MV_PIPELINE_DAGSTER_URL" in shown
    assert CANARY not in shown


@pytest.fixture
def unreachable(settings, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", REFUSED)
    monkeypatch.setenv("MV_PIPELINE_WATCH_SECONDS", "0")
    return load_settings()


@pytest.mark.parametrize("name", ["inbox", "changes", "alerts"])
def test_a_tick_while_the_database_is_unreachable_does_not_tell(unreachable, definitions, instance, name):
    with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
        data = definitions.get_repository_def().get_sensor_def(name).evaluate_tick(context)

    assert data.skip_message
    assert CANARY not in f"{data}"


def test_a_run_while_the_database_is_unreachable_does_not_tell(unreachable, definitions, instance, capfd):
    job = definitions.resolve_job_def("nightly")

    result = job.execute_in_process(instance=instance, raise_on_error=False)

    logged = [str(entry) for entry in instance.all_logs(result.run_id)]
    assert not result.success
    assert any("refused" in entry for entry in logged)
    assert CANARY not in "\n".join(logged)
    assert CANARY not in "".join(capfd.readouterr())
