"""`mv-pipeline dev` with its real daemon and web server, as one story, because to start it takes seconds.

Everything is killed in the middle of a run and started again: files show in a view and their runs in the UI, the
office is told of a rejected one, every process logs JSON, and Ctrl-C leaves nothing behind.
"""

import json
import signal
from datetime import datetime, timedelta

import psutil
import psycopg
import pytest

from mv_pipeline.database.connection import Database
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.operations.conftest import Receiver
from mv_pipeline_tests.processes import TIMEOUT_S, listening_addresses, running_dev, wait_for

KIND, BROKEN_KIND = "shogun_flash_receive", "shogun_final_receive"
UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
YESTERDAY = datetime.now(TIME_ZONE).date() - timedelta(days=1)
DAY_BEFORE = YESTERDAY - timedelta(days=1)


@pytest.fixture
def office():
    """A receiver of messages."""
    made = Receiver()
    yield made
    made.close()


def test_files_show_and_the_office_is_told_though_everything_is_killed_in_the_middle_of_a_run(home, office):
    settings, log = home
    inbox = settings.inbox_dir
    variables = {"MV_PIPELINE_ALERT_URLS": office.url, "MV_PIPELINE_LOG_FORMAT": "json"}
    url = settings.resolved_database_url()

    with running_dev(settings, log, **variables) as dev:
        assert listening_addresses(dev.process.pid) == {("127.0.0.1", settings.port)}
        with Database(url=url).connect() as connection, connection.transaction():
            connection.execute("SELECT FROM log.rollup FOR UPDATE")
            drop(inbox / BROKEN_KIND / "bad.csv", net_weight="x")
            drop(inbox / KIND / "first.csv", slip_date=f"{YESTERDAY:%Y/%m/%d}", net_weight="12,345")
            wait_for("the run waits in the rollup", lambda: waits_for_a_lock(connection))
            (dead,) = dev.runs(INGEST, "STARTED")
            family = dev.family()
            for process in family:
                process.kill()
            psutil.wait_procs(family, timeout=TIMEOUT_S)
            dev.process.wait(TIMEOUT_S)

    with running_dev(settings, log, **variables) as dev:
        drop(inbox / KIND / "second.csv", slip_date=f"{DAY_BEFORE:%Y/%m/%d}", net_weight="5000")

        assert str(wait_for("the first file shows", lambda: tons(url, YESTERDAY))) == "12.345"
        assert wait_for("the second file shows", lambda: tons(url, DAY_BEFORE)) == 5
        message = wait_for("the office is told", lambda: office.messages[:1])[0]
        wait_for("no run is under way", lambda: not dev.runs(INGEST, *UNDER_WAY))

        assert dead["runId"] in [run["runId"] for run in dev.runs(INGEST, "FAILURE")]
        healed = {tag["key"]: tag["value"] for run in dev.runs(INGEST, "SUCCESS") for tag in run["tags"]}
        assert healed["dagster/sensor_name"] == "inbox"
        with psycopg.connect(url) as connection:
            uploads = connection.execute(
                "SELECT file_name, processing_status, row_count FROM log.upload_file ORDER BY file_name"
            ).fetchall()
        family = psutil.Process(dev.process.pid).children(recursive=True)
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(TIMEOUT_S) == 0

    gone, alive = psutil.wait_procs(family, timeout=TIMEOUT_S)
    assert (bool(gone), alive) == (True, [])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert uploads == [("bad.csv", "failed", None), ("first.csv", "success", 1), ("second.csv", "success", 1)]
    assert [path for path in inbox.glob("*/*") if path.is_file()] == []
    assert message["title"].startswith("受入最終のファイル「bad.csv」を取り込めませんでした")
    assert str(settings.rejected_dir / BROKEN_KIND / "bad.csv.errors.csv") in message["message"]
    assert [sent["title"] for sent in office.messages if "bad.csv" in sent["title"]] == [message["title"]]
    assert_json(log)


def drop(path, **cells):
    """Put a file of one line into the inbox, whole from its first moment on."""
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(csv_text([line(path.parent.name, **cells)]), encoding="cp932", newline="")
    hidden.rename(path)


def tons(url, day):
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = %s AND source_system = 'shogun_flash'",
            [day],
        ).fetchone()
    return row and row[0]


def waits_for_a_lock(connection):
    return connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted").fetchall()


def assert_json(log):
    """What daemon, web and code servers write is JSON, and a run's console passes through."""
    lines = log.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(text) for text in lines if text.startswith("{")]
    assert {text.split()[0] for text in lines if not text.startswith("{")} == {"UI:", "Inbox:", "Ctrl-C"}
    assert {"INFO"} <= {entry["severity"] for entry in entries} <= {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
    assert all(entry["time"][10] == "T" and entry["message"] for entry in entries)
    assert any("second.csv: loaded, 1 rows." in entry["message"] and entry["logger"] == "dagster" for entry in entries)
