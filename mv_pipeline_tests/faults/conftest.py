"""A plant whose processes die, and what has to be true of it afterwards; the counts of all that was done to it."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.recompute import compare_rollup, compare_view
from mv_pipeline.database.connection import Connection
from mv_pipeline.settings import Settings
from mv_pipeline_tests.factory import csv_text, drop, line
from mv_pipeline_tests.faults import worker

_TIMEOUT_S = 60
RECEIVE, FLASH, YARD = "shogun_final_receive", "shogun_flash_receive", "shogun_flash_yard"


@dataclass
class Files:
    """Files dropped, and what has to come of them.

    Args:
        good: content by name; each is loaded once.
        bad: content by name; each is rejected.
        lines: data lines of the good ones by kind.
        tons: of mv_receive_daily by day; of days that aren't named it is 0.
    """

    good: dict[str, bytes] = field(default_factory=dict)
    bad: dict[str, bytes] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)
    active: Counter[str] = field(default_factory=Counter)
    tons: dict[date, int] = field(default_factory=dict)


@dataclass
class FaultyPlant:
    """A home, its database and the processes that work on it."""

    settings: Settings
    connection: Connection
    catalog: Catalog
    context: ForkServerContext
    tally: Counter[str]
    files: Files = field(default_factory=Files)

    def drop_files(self) -> None:
        """Drop two uploads of overlapping days, one of another list, the second's content again, and a bad one."""
        self.tally["fault histories"] += 1
        first = [
            line(RECEIVE, slip_date=day, receive_no=n, net_weight=1000)
            for day in ("2025/12/01", "2025/12/03")
            for n in range(1, 4)
        ]
        second = [
            line(RECEIVE, slip_date=day, receive_no=n, net_weight=2000)
            for day in ("2025/12/03", "2025/12/04")
            for n in range(1, 3)
        ]
        yard = [line(YARD, slip_date="2025/12/02", slip_no=n) for n in range(1, 6)]
        bad = [line(FLASH, slip_date="2025/12/05"), line(FLASH, slip_date="2025/12/05", net_weight="--5")]
        order = [
            ("first.csv", RECEIVE, first),
            ("bad.csv", FLASH, bad),
            ("second.csv", RECEIVE, second),
            ("yard.csv", YARD, yard),
            ("again.csv", RECEIVE, second),
        ]
        for number, (name, kind, lines) in enumerate(order):
            path = drop(self.settings.inbox_dir, kind, name, csv_text(lines))
            # The order in which files came is the order in which they count.
            os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
            (self.files.bad if kind == FLASH else self.files.good)[name] = path.read_bytes()
        self.files.lines += Counter({RECEIVE: len(first) + len(second), YARD: len(yard)})
        self.files.active += Counter({RECEIVE: 3 + len(second), YARD: len(yard)})
        self.files.tons = {date(2025, 12, 1): 3, date(2025, 12, 3): 4, date(2025, 12, 4): 4}
        self.tally["files"] += len(order)
        self.tally["lines"] += sum(self.files.lines.values())

    def start(self, boundary: worker.Boundary | None = None, call: int = 1) -> ForkServerProcess:
        """Start a process that runs one tick, and return when it begins to work."""
        started = self.context.Event()
        process = self.context.Process(
            target=worker.run, args=(self.settings.environment(), boundary, call, started), daemon=True
        )
        process.start()
        assert started.wait(_TIMEOUT_S), "the process never began"
        return process

    def kill(self, process: ForkServerProcess) -> None:
        """Kill a process that may have ended by itself."""
        process.kill()
        self.bury(process)

    def bury(self, process: ForkServerProcess) -> int:
        """Wait for a process's end, and until the server has noticed; return the exit code."""
        process.join(_TIMEOUT_S)
        assert process.exitcode is not None, "the process is still there"
        self.tally["kills"] += process.exitcode < 0
        self.wait_for_other_sessions()
        return process.exitcode

    def wait_for_other_sessions(self) -> None:
        """Wait until no other session is left on the database."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self.sessions():
            assert time.monotonic() < deadline, f"sessions that never end: {self.sessions()}"
            time.sleep(0.01)

    def sessions(self) -> list[tuple[object, ...]]:
        """The other sessions on the database."""
        return self.connection.execute(
            "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()

    def tick(self) -> None:
        """Run one tick in this process: the next one after whatever happened."""
        worker.tick(self.settings, self.catalog)

    def outage(self) -> None:
        """Count a fault that is no kill."""
        self.tally["outages"] += 1

    def losses(self) -> list[str]:
        """What isn't as it has to be after everything has healed; the sentences say what."""
        found = [*self._lost_files(), *self._lost_lines(), *self._wrong_views(), *self._left_behind()]
        self.tally["losses"] += len(found)
        return found

    def _lost_files(self) -> Iterator[str]:
        lying = [path for path in self.settings.inbox_dir.glob("*/*") if path.is_file()]
        if lying:
            yield f"still in the inbox: {lying}"
        archived = [path.read_bytes() for path in self.settings.archive_dir.rglob("*") if path.is_file()]
        # Whoever was killed between reserving a place and moving a file into it leaves an empty one.
        archived = [content for content in archived if content]
        rejected = [path for path in self.settings.rejected_dir.rglob("*") if path.is_file()]
        reports = [path for path in rejected if path.name.endswith(".errors.csv")]
        contents = [path.read_bytes() for path in rejected if path not in reports and path.stat().st_size]
        if Counter(archived) != Counter(self.files.good.values()):
            yield f"{len(archived)} files in the archive, {len(self.files.good)} expected, each content as often"
        if Counter(contents) != Counter(self.files.bad.values()):
            yield f"{len(contents)} files rejected, {len(self.files.bad)} expected"
        for path in rejected:
            if path not in reports and path.with_name(f"{path.name}.errors.csv") not in reports:
                yield f"{path.name} has no report"

    def _lost_lines(self) -> Iterator[str]:
        for kind, expected in self.files.lines.items():
            raw, distinct = self._one(
                f"SELECT count(*), count(DISTINCT (upload_file_id, source_row_no)) FROM raw.{kind}"
            )
            stg, active = self._one(f"SELECT count(*), count(*) FILTER (WHERE NOT is_deleted) FROM stg.{kind}")
            if (raw, distinct, stg, active) != (expected, expected, expected, self.files.active[kind]):
                yield f"{kind}: {raw} raw lines ({distinct} distinct), {stg} in stg, {active} active, {expected} came"
        waiting = self._one("SELECT count(*) FROM log.upload_file WHERE processing_status NOT IN ('success', 'failed')")
        if waiting != (0,):
            yield f"{waiting[0]} uploads in the log are neither success nor failed"

    def _wrong_views(self) -> Iterator[str]:
        for rollup in self.catalog.rollups:
            if compare_rollup(self.connection, rollup).rows:
                yield f"{rollup.name} isn't what a full recompute gives"
        for view in self.catalog.materialized_views:
            if compare_view(self.connection, view).rows:
                yield f"{view.name} isn't what a full recompute gives"
        tons = dict(
            self.connection.execute(
                "SELECT ddate, receive_net_ton FROM mart.mv_receive_daily WHERE receive_net_ton <> 0"
            ).fetchall()
        )
        if tons != self.files.tons:
            yield f"mv_receive_daily shows {tons}"

    def _left_behind(self) -> Iterator[str]:
        locks = self.connection.execute(
            "SELECT pid, objid FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
        if locks:
            yield f"advisory locks that nobody gave back: {locks}"
        parts = [path for path in self.settings.home.rglob("*.part") if path.is_file()]
        if parts:
            yield f"unfinished copies: {parts}"

    def _one(self, query: str) -> tuple[int, ...]:
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return row


@pytest.fixture(scope="session")
def forkserver() -> ForkServerContext:
    """Processes that begin with the pipeline's modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mv_pipeline_tests.faults.worker"])
    return context


@pytest.fixture
def plant(
    settings: Settings, connection: Connection, catalog: Catalog, forkserver: ForkServerContext, tally: Counter[str]
) -> FaultyPlant:
    """A plant with files in its inbox."""
    made = FaultyPlant(settings, connection, catalog, forkserver, tally)
    made.drop_files()
    return made


def folder_of(settings: Settings, kind: str) -> Path:
    """The inbox folder of a kind."""
    return settings.inbox_dir / kind
