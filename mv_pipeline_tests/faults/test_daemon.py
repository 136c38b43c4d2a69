"""The real daemon, web server and run killed in the middle of a run: after a restart nothing waits for the dead."""

import signal
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psutil
import psycopg

from mv_pipeline.database.connection import Database, session_lock
from mv_pipeline.database.embedded import running_server
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import running_dev, wait_for

KIND = "shogun_flash_receive"
UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")


def test_everything_is_killed_in_the_middle_of_a_run_and_started_again(home):
    settings, log = home
    yesterday = datetime.now(ZoneInfo("Asia/Tokyo")).date() - timedelta(days=1)

    def drop(name, day, tons):
        text = csv_text([line(KIND, slip_date=f"{day:%Y/%m/%d}", net_weight=tons * 1000)])
        hidden = settings.inbox_dir / KIND / f".{name}"
        hidden.write_text(text, encoding="cp932", newline="")
        hidden.rename(hidden.with_name(name))

    def tons(day):
        with psycopg.connect(settings.resolved_database_url()) as connection:
            row = connection.execute(
                "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = %s AND receive_net_ton <> 0", [day]
            ).fetchone()
            return row and row[0]

    with running_server(settings):
        database = Database(url=settings.resolved_database_url())
        with (
            running_dev(settings, log) as dev,
            database.connect() as connection,
            session_lock(connection, "rollup", "receive"),
        ):
            drop("first.csv", yesterday, 3)
            wait_for("the run waits in the rollup", lambda: waiting_for_a_lock(connection))
            (dead,) = dev.runs(INGEST, "STARTED")
            family = dev.family()
            for process in family:
                process.kill()
            psutil.wait_procs(family, timeout=30)
            dev.process.wait(30)

        with running_dev(settings, log) as dev:
            drop("second.csv", yesterday - timedelta(days=1), 5)

            assert wait_for("the first file shows", lambda: tons(yesterday)) == 3
            assert wait_for("the second file shows", lambda: tons(yesterday - timedelta(days=1))) == 5
            wait_for("no run is under way", lambda: not dev.runs(INGEST, *UNDER_WAY))
            assert dead["runId"] in [run["runId"] for run in dev.runs(INGEST, "FAILURE")]
            dev.process.send_signal(signal.SIGINT)
            assert dev.process.wait(60) == 0
        with database.connect() as connection:
            uploads = connection.execute(
                "SELECT file_name, processing_status, row_count FROM log.upload_file ORDER BY id"
            ).fetchall()
        assert uploads == [("first.csv", "success", 1), ("second.csv", "success", 1)]
        assert not [path for path in settings.inbox_dir.glob("*/*") if path.is_file()]


def waiting_for_a_lock(connection):
    return connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()
