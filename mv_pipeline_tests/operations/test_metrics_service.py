"""`mv-pipeline metrics` as a process: scraped over HTTP, as the pipeline's user, before and after a restart."""

import contextlib
import json
import os
import subprocess

import psycopg
import pytest

from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.migrate.roles import PIPELINE
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.deploy.conftest import running, wait_until_listening
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.operations.scrape import scrape
from mv_pipeline_tests.processes import COMMAND, free_port, listening_addresses

KIND = "shogun_final_receive"


@pytest.fixture
def plant(settings, storage, database, catalog):
    """The environment of a plant with roles, in which two files came: one was loaded, one rejected."""
    migrate(database, catalog, with_roles=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER")}
    environment |= {"MV_PIPELINE_DAGSTER_URL": storage}
    for name, cells in (("good.csv", {"net_weight": 5000}), ("bad.csv", {"net_weight": "x", "amount": "y"})):
        path = settings.home / name
        path.write_text(csv_text([line(**cells)]), encoding="cp932", newline="")
        call_command("ingest", "--kind", KIND, path, MV_PIPELINE_DAGSTER_URL=storage)
    with database.connect() as connection:
        connection.execute(f"CREATE ROLE ms_metrics LOGIN IN ROLE {PIPELINE}")
        connection.execute(f"ALTER ROLE ms_metrics SET role = '{PIPELINE}'")
    url = settings.resolved_database_url().replace("postgres@", "ms_metrics@")
    yield environment | {"MV_PIPELINE_DATABASE_URL": url}
    with database.connect() as connection:
        connection.execute("DROP ROLE ms_metrics")


@contextlib.contextmanager
def serving(environment, log, *command):
    """The service on a port of its own."""
    port = free_port()
    environment = environment | {"MV_PIPELINE_METRICS_PORT": str(port)}
    with running([COMMAND, *command], environment, log) as process:
        wait_until_listening(process, port, log)
        yield process, port


def test_a_scrape_tells_what_is_in_the_database_and_a_restart_tells_the_same(plant, connection, tmp_path):
    with serving(plant, tmp_path / "log", "metrics") as (process, port):
        assert listening_addresses(process.pid) == {("127.0.0.1", port)}
        first = scrape(port)
        with psycopg.connect(plant["MV_PIPELINE_DATABASE_URL"]) as refreshing:
            refreshing.execute("SELECT set_config('application_name', 'mv_pipeline refresh mart.mv_yard_daily', false)")
            refreshing.execute("SELECT pg_sleep(0.2)")
            assert scrape(port).value("mv_refresh_running_seconds", view="mart.mv_yard_daily") > 0.1
    with serving(plant, tmp_path / "log", "serve", "metrics") as (_, port):
        second = scrape(port)

    assert first.by("source", "mv_source_up") == {"plant": 1, "dagster": 1}
    assert first.by("status", "mv_uploads_total", kind=KIND) == {"loaded": 1, "duplicate": 0, "rejected": 1}
    assert first.value("mv_rejected_cells_total", code="bad_number") == 2
    assert first.by("source", "mv_newest_day_age_days", list="receive") == {"shogun_final": 10}
    (seconds,) = connection.execute(
        "SELECT (metadata->>'seconds')::float FROM log.upload_file WHERE processing_status = 'success'"
    ).fetchone()
    assert first.value("mv_intake_lines_per_second", kind=KIND) == pytest.approx(1 / seconds)
    for view, count, rows in connection.execute(
        "SELECT relation, count(*), (array_agg(row_count ORDER BY id DESC))[1] FROM log.view_refresh GROUP BY relation"
    ):
        assert first.value("mv_refresh_duration_seconds_count", view=view) == count
        assert first.value("mv_view_rows", view=view) == rows

    status = call_command("status", "--json", MV_PIPELINE_DATABASE_URL=plant["MV_PIPELINE_DATABASE_URL"])
    seen = {view["name"]: set(view["checks_passed"]) for view in json.loads(status.stdout)}
    receive = first.by("check", "mv_check_passed", asset="mart.mv_receive_daily")
    assert receive == dict.fromkeys(seen["mart.mv_receive_daily"], 1)
    assert first.by("check", "mv_check_passed", asset=f"raw.{KIND}") == {"last_upload_accepted": 0}

    assert dict(second.steady()) == dict(first.steady())


def test_a_services_start_and_its_error_are_json_lines(settings, tmp_path):
    environment = os.environ | {"MV_PIPELINE_LOG_FORMAT": "json"}
    with serving(environment, tmp_path / "log", "metrics") as (_, port):
        done = subprocess.run(
            [COMMAND, "metrics"],
            env=environment | {"MV_PIPELINE_METRICS_PORT": str(port)},
            capture_output=True,
            text=True,
        )

    assert done.returncode == 1
    entry = json.loads(done.stderr)
    assert (entry["severity"], entry["logger"]) == ("CRITICAL", "mv_pipeline")
    assert entry["message"] == f"Port {port} on 127.0.0.1 is taken. Stop what uses it, or set MV_PIPELINE_METRICS_PORT."
    (started,) = [json.loads(text) for text in (tmp_path / "log").read_text().splitlines()]
    assert (started["severity"], started["message"]) == (
        "INFO",
        f"Metrics are served on http://127.0.0.1:{port}/metrics",
    )
