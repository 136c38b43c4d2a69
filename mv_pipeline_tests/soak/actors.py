"""Who works on the plant while it runs: the office, the web application, other programs, readers, and faults."""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TypeVar

import psutil
import psycopg

from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.soak.books import RECEIVE_FINAL, SLIPS, Books, Drop, Line
from mv_pipeline_tests.soak.plant import Plant

DROP_EVERY_S = 7
_DAYS = 20
_CHANGING_DAYS = 8
_STOPPED_S = 15
_LOOK_FOR_S = 20
_SAY_EVERY_S = 60
VIEWS = (
    "mart.mv_receive_daily",
    "mart.mv_target_card_per_day",
    "mart.mv_inb_avg5y_day_biz",
    "mart.mv_shipment_daily",
    "mart.mv_yard_daily",
)
READS = {
    # Of what is read in one snapshot, nothing may differ, whoever writes meanwhile.
    "a rollup read and its lines": f"""
        SELECT count(*) FROM (
            (SELECT ddate, line_count, net_weight_kg FROM mart.rollup_{RECEIVE_FINAL} EXCEPT
             SELECT slip_date, count(*), sum(net_weight) FROM stg.{RECEIVE_FINAL} WHERE NOT is_deleted GROUP BY 1)
            UNION ALL
            (SELECT slip_date, count(*), sum(net_weight) FROM stg.{RECEIVE_FINAL} WHERE NOT is_deleted GROUP BY 1
             EXCEPT SELECT ddate, line_count, net_weight_kg FROM mart.rollup_{RECEIVE_FINAL})
        ) AS wrong""",
    "a view's days": "SELECT count(*) - count(DISTINCT ddate) FROM mart.v_receive_daily",
    "lines of two uploads on a day": f"""
        SELECT count(*) FROM (
            SELECT slip_date FROM stg.{RECEIVE_FINAL} WHERE NOT is_deleted GROUP BY 1
            HAVING count(DISTINCT upload_file_id) > 1
        ) AS doubled""",
}
Act = Callable[[], None]
Found = TypeVar("Found")


class Actors:
    """Threads that act until they are stopped.

    Args:
        seed: of everything that is random, but not of when it happens.
    """

    def __init__(self, plant: Plant, books: Books, seed: int) -> None:
        self._plant = plant
        self._books = books
        self._chance = random.Random(seed)
        self._number = 0
        self._done = threading.Event()
        yesterday = datetime.now(TIME_ZONE).date() - timedelta(days=1)
        self._days = [yesterday - timedelta(days=number) for number in range(_DAYS)]

    def begin(self) -> None:
        """Drop a file of every day of every kind, so that no business day is without lines."""
        for kind in SLIPS:
            self._drop(kind, self._days)

    def run(self, seconds: float, faults_every_s: float) -> None:
        """Let all of them act for so long."""
        threads = [
            threading.Thread(target=self._repeat, args=(name, every_s, act))
            for name, every_s, act in (
                ("the office", DROP_EVERY_S, self._drop_something),
                ("the web application", 11, self._soft_delete),
                ("others", 9, self._refresh),
                ("a reader", 0.5, self._read),
            )
        ]
        threads.append(threading.Thread(target=self._break_things, args=(faults_every_s,)))
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while not self._done.wait(min(max(end - time.monotonic(), 0), _SAY_EVERY_S)) and time.monotonic() < end:
            sys.stdout.write(f"{datetime.now():%H:%M:%S} {dict(self._books.tally)}\n")
            sys.stdout.flush()
        self._done.set()
        for thread in threads:
            thread.join()

    def _repeat(self, name: str, every_s: float, act: Act) -> None:
        due = time.monotonic()
        while not self._done.wait(max(due - time.monotonic(), 0)):
            due += every_s
            try:
                act()
            except psycopg.OperationalError:
                # The server's other sessions fall with the one that was killed, and it is away for a moment.
                self._books.count(f"{name}: connection lost")
            except psycopg.Error as error:
                self._books.lose(f"{name}: {type(error).__name__}: {str(error).strip()}")

    # The office.

    def _drop_something(self) -> None:
        kind = self._chance.choice([*SLIPS])
        first = self._chance.randrange(_CHANGING_DAYS)
        days = self._days[first : first + self._chance.choice((1, 1, 2, 3))]
        self._drop(kind, days, bad=self._chance.random() < 0.1, slowly=self._chance.random() < 0.2)

    def _drop(self, kind: str, days: list[date], *, bad: bool = False, slowly: bool = False) -> None:
        lines = []
        for day in days:
            for _ in range(self._chance.randint(30, 40)):
                self._number += 1
                lines.append(Line(self._number, day, self._chance.randint(800, 1200)))
        rows = [
            line(kind, **{"slip_date": f"{each.day:%Y/%m/%d}", SLIPS[kind]: each.number, "net_weight": each.kg})
            for each in lines
        ]
        if bad:
            column = line(kind, net_weight="--5").items() - line(kind).items()
            rows[-1] |= dict(column)
        name = f"{'bad' if bad else 'good'}-{len(self._books.drops):05}.csv"
        content = csv_text(rows).encode("cp932")
        path = self._plant.settings.inbox_dir / kind / name
        if slowly:
            # As a program writes that closes the file at the end.
            with path.open("wb") as file:
                half = len(content) // 2
                file.write(content[:half])
                file.flush()
                time.sleep(1)
                file.write(content[half:])
        else:
            hidden = path.with_name(f".{name}")
            hidden.write_bytes(content)
            hidden.rename(path)
        self._books.dropped(Drop(kind, name, tuple(lines), "rejected" if bad else "loaded", time.time(), content))

    # The web application (spec: application.md, Deletions and Refresh).

    def _soft_delete(self) -> None:
        with self._plant.connect("web application") as connection:
            chosen = connection.execute(
                f"SELECT slip_date, upload_file_id FROM stg.{RECEIVE_FINAL} WHERE NOT is_deleted AND slip_date >= %s "
                "GROUP BY 1, 2 ORDER BY random() LIMIT 1",
                [self._days[_CHANGING_DAYS]],
            ).fetchone()
            if chosen is None:
                return
            connection.autocommit = False
            (transaction,) = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            rows = connection.execute(
                f"UPDATE stg.{RECEIVE_FINAL} SET is_deleted = true, deleted_at = now(), deleted_by = 'web' "
                "WHERE slip_date = %s AND upload_file_id = %s AND NOT is_deleted RETURNING receive_no",
                chosen,
            ).fetchall()
            try:
                # It works on for a while before it commits.
                time.sleep(self._chance.choice((0, 0.5, 3)))
                connection.commit()
            except psycopg.OperationalError:
                if not self._has_committed(transaction):
                    raise
            self._books.soft_deleted([number for (number,) in rows])
            connection.autocommit = True
            for view in VIEWS[:2]:
                connection.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {view}")
            self._books.count("refreshes by others", 2)

    def _has_committed(self, transaction: str) -> bool:
        """Whether a transaction whose commit nobody has confirmed is in."""
        while True:
            with contextlib.suppress(psycopg.OperationalError), self._plant.connect("soak") as connection:
                (status,) = connection.execute("SELECT pg_xact_status(%s::text::xid8)", [transaction]).fetchone()
                return status == "committed"
            time.sleep(0.5)

    def _refresh(self) -> None:
        with self._plant.connect("others") as connection:
            connection.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {self._chance.choice(VIEWS)}")
        self._books.count("refreshes by others")

    def _read(self) -> None:
        with self._plant.connect("dashboard") as connection:
            for what, query in READS.items():
                (wrong,) = connection.execute(query).fetchone()
                self._books.count("reads")
                if wrong:
                    self._books.lose(f"a reader saw {wrong} differences: {what}")

    # Faults.

    def _break_things(self, every_s: float) -> None:
        faults = [
            self._kill_run,
            self._terminate_backend,
            self._stop_run,
            self._kill_daemon,
            self._launch_nightly,
            self._kill_run,
            self._kill_backend,
        ]
        for number in range(10**6):
            if self._done.wait(every_s):
                return
            try:
                faults[number % len(faults)]()
            except psycopg.OperationalError:
                self._books.count("faults: connection lost")

    def _soon(self, find: Callable[[], Found | None]) -> Found | None:
        """What there isn't at every moment, as soon as there is."""
        deadline = time.monotonic() + _LOOK_FOR_S
        while time.monotonic() < deadline and not self._done.is_set():
            if found := find():
                return found
            time.sleep(0.3)
        return None

    def _worker(self) -> psutil.Process | None:
        return self._soon(lambda: next(iter(self._plant.workers()), None))

    def _kill_run(self) -> None:
        process = self._worker()
        if process:
            begun = time.time()
            # At any moment of its life.
            self._done.wait(self._chance.uniform(0, 5))
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                self._books.broke("runs killed", begun)

    def _stop_run(self) -> None:
        process = self._worker()
        if process:
            begun = time.time()
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                try:
                    self._done.wait(_STOPPED_S)
                finally:
                    process.resume()
                self._books.broke("runs stopped for a while", begun)

    def _kill_daemon(self) -> None:
        for process in self._plant.processes("dagster-daemon"):
            begun = time.time()
            process.kill()
            self._books.broke("daemons killed", begun)

    def _terminate_backend(self) -> None:
        pid = self._soon(self._plant.backend)
        if pid:
            begun = time.time()
            with self._plant.connect("soak") as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            self._books.broke("connections ended", begun)

    def _kill_backend(self) -> None:
        pid = self._soon(self._plant.backend)
        if pid:
            begun = time.time()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._books.broke("server crashes", begun)

    def _launch_nightly(self) -> None:
        self._plant.launch("nightly")
