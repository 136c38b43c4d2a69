"""`mv-pipeline dev` with its real daemon and web server, once: a dropped file shows in a view and in the UI."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import psycopg
import pytest

from mv_pipeline.settings import Settings
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import free_port, listening_addresses, wait_for


@pytest.fixture
def dev():
    """`mv-pipeline dev` in a home of its own; yields settings, process and a GraphQL function."""
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", database_url=None, dagster_url=None, port=free_port())
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MV_PIPELINE", "DAGSTER"))
        }
        environment |= {"MV_PIPELINE_HOME": str(settings.home), "MV_PIPELINE_PORT": str(settings.port)}
        with (Path(folder) / "dev.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("mv-pipeline")), "dev"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def graphql(query: str):
            request = urllib.request.Request(
                f"http://127.0.0.1:{settings.port}/graphql",
                json.dumps({"query": query}).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.load(answer)["data"]
            except OSError:
                assert process.poll() is None, (Path(folder) / "dev.log").read_text()
                return None

        yield settings, process, graphql
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_a_dropped_file_shows_in_the_view_and_its_run_in_the_ui(dev):
    settings, process, graphql = dev
    wait_for("the UI answers", lambda: graphql("{ version }"))
    assert listening_addresses(process.pid) == {("127.0.0.1", settings.port)}
    yesterday = datetime.now(ZoneInfo("Asia/Tokyo")).date() - timedelta(days=1)
    folder = settings.inbox_dir / "shogun_flash_receive"
    text = csv_text([line("shogun_flash_receive", slip_date=yesterday.strftime("%Y/%m/%d"), net_weight="12,345")])
    (folder / ".list.csv").write_text(text, encoding="cp932", newline="")

    (folder / ".list.csv").rename(folder / "list.csv")

    def tons():
        with psycopg.connect(settings.resolved_database_url()) as connection:
            return connection.execute(
                "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = %s AND source_system = 'shogun_flash'",
                [yesterday],
            ).fetchone()

    assert str(wait_for("the view shows the file", tons)[0]) == "12.345"

    def finished():
        runs = graphql("{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }")
        done = [
            run
            for run in (runs or {"runsOrError": {"results": []}})["runsOrError"]["results"]
            if run["status"] == "SUCCESS"
        ]
        return done or None

    (run,) = wait_for("the run has ended", finished)
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert (run["jobName"], tags["dagster/sensor_name"]) == ("ingest", "inbox")
    assert not (folder / "list.csv").exists()

    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert (bool(gone), alive) == (True, [])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(settings.resolved_database_url())
