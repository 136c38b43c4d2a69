"""`mv-pipeline dev` with its real daemon and web server, once: a dropped file shows in a view and in the UI."""

import signal
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psutil
import psycopg
import pytest

from mv_pipeline.defs.jobs import INGEST
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import listening_addresses, running_dev, wait_for


def test_a_dropped_file_shows_in_the_view_and_its_run_in_the_ui(home):
    settings, log = home
    with running_dev(settings, log) as dev:
        see_a_file_through(dev)


def see_a_file_through(dev):
    settings, process = dev.settings, dev.process
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

    (run,) = wait_for("the run has ended", lambda: dev.runs(INGEST, "SUCCESS"))
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
