"""A dump restored on a server that has counted fewer transactions: what was seen there has not been seen here."""

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from mv_pipeline.checks.rules import quick_checks
from mv_pipeline.database.connection import Database
from mv_pipeline.database.embedded import POSTGRES_BIN_PATH
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.views import prune_change_log, read_view_status, refresh_view
from mv_pipeline_tests.conftest import (
    PROGRAMS,
    create_database,
    database_name,
    drop_database,
    temporary_server,
)
from mv_pipeline_tests.factory import roll_up

RECEIVE = "mart.mv_receive_daily"
FAR_AHEAD = "9000000000:9000000000:"
ADD_LINE = "INSERT INTO stg.shogun_final_receive (slip_date, receive_no, net_weight) VALUES ('2025-12-01', 1, 7000)"
PLAN = "INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)"


@pytest.fixture(scope="module")
def restored_template(server, template, catalog, tmp_path_factory):
    """The settings of a new server and the name of a database on it: restored from one that is far ahead."""
    programs = Path(PROGRAMS or POSTGRES_BIN_PATH)
    if not (programs / "pg_dump").exists():
        pytest.skip(f"{programs} has no pg_dump, and that of another version may be incompatible")
    ahead = create_database(server, template)
    with Database(url=ahead).connect() as connection:
        connection.execute(ADD_LINE)
        connection.execute(PLAN)
        roll_up(connection, catalog)
        connection.execute("UPDATE log.change_note SET xid = '8999999999'")
        connection.execute("UPDATE log.rollup SET seen = %s", [FAR_AHEAD])
        connection.execute("UPDATE log.view_refresh SET snapshot = %s", [FAR_AHEAD])
    dump = tmp_path_factory.mktemp("dump") / "warehouse.dump"
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", ahead], check=True)
    drop_database(server, ahead)
    with temporary_server() as other:
        url = create_database(other)
        subprocess.run([programs / "pg_restore", "--exit-on-error", f"--dbname={url}", dump], check=True)
        yield other, database_name(url)


@pytest.fixture
def restored(restored_template):
    """A database of the test's own, as a restore leaves it on another server."""
    other, name = restored_template
    url = create_database(other, name)
    yield Database(url=url)
    drop_database(other, url)


def names(catalog):
    return [view.name for view in catalog.materialized_views]


def stale(connection, catalog):
    return [status.relation for status in read_view_status(connection, catalog.materialized_views) if status.stale]


def bring_up_to_date(connection, catalog):
    roll_up(connection, catalog)
    for view in catalog.materialized_views:
        refresh_view(connection, view)


def test_before_anybody_has_done_anything_no_view_counts_as_fresh(restored, catalog):
    with restored.connect() as connection:
        assert stale(connection, catalog) == names(catalog)
        (check,) = [check for check in quick_checks(catalog, RECEIVE) if check.name == "up_to_date"]
        result = check.evaluate(connection)

    assert not result.passed
    assert "the database was restored on another server" in result.message


def test_it_is_noticed_once_and_everything_is_computed_anew(restored, catalog):
    with restored.connect() as connection:
        assert detect_restore(connection)
        assert not detect_restore(connection)

        bring_up_to_date(connection, catalog)

        assert stale(connection, catalog) == []
        tons = f"SELECT receive_net_ton FROM {RECEIVE} WHERE ddate = '2025-12-01'"
        assert connection.execute(tons).fetchone() == (7,)
        prune_change_log(connection)
        assert connection.execute("SELECT count(*) FROM log.change_note").fetchone() == (0,)


@pytest.mark.parametrize("statement", [ADD_LINE, PLAN])
def test_a_change_after_the_restore_is_news_whoever_comes_first(restored, catalog, statement):
    with restored.connect() as connection:
        connection.execute(statement)
        detect_restore(connection)
        assert stale(connection, catalog) == names(catalog)
        bring_up_to_date(connection, catalog)

        connection.execute(statement)

        assert stale(connection, catalog) != []


def test_the_sensor_notices_it_and_a_run_heals_it(restored, catalog, settings, monkeypatch, definitions, instance):
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", restored.url)
    with restored.connect() as connection:
        connection.execute("UPDATE log.change_note SET noted_at = noted_at - interval '1 hour'")
    repository = definitions.get_repository_def()

    def tick():
        with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
            return repository.get_sensor_def("changes").evaluate_tick(context)

    tick()
    with restored.connect() as connection:
        connection.execute("UPDATE log.change_note SET noted_at = noted_at - interval '1 hour'")
    (request,) = tick().run_requests
    job = definitions.resolve_job_def("refresh_changed").get_subset(asset_selection=set(request.asset_selection))
    result = job.execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )

    assert result.success
    with restored.connect() as connection:
        assert stale(connection, catalog) == []


def test_the_same_server_is_never_taken_for_another(connection, catalog):
    assert not detect_restore(connection)
    (status,) = read_view_status(connection, [catalog.relations[RECEIVE]])
    assert not status.restored


def test_a_log_from_before_servers_were_recorded_counts_as_another_servers(connection, catalog):
    connection.execute("DELETE FROM log.server")

    assert stale(connection, catalog) == names(catalog)
    assert detect_restore(connection)
