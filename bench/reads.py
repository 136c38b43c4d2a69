"""Section `reads`: what a dashboard's queries take.

A point query at a steady pace, as dashboards ask: on an idle database, while a day is uploaded every second, and while
refreshes run without a pause, in a process of their own (see `background`). And the daily sales by customer, from their
rollup and as they were read before.
"""

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from bench import data, ours, rivals
from bench.report import ALL_YEARS, EVERY_SECOND, FULL, IDLE, ONE_MONTH, OURS, PLAIN, READS, SALES_LINES, percentile
from bench.stage import RECEIVE_KIND, Stage, stopwatch
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, Database, identifier
from mv_pipeline.intake.backfill import derive_days

SECTION = "Reads"
_PAUSE_S = 0.002
_SALES = "mart.v_customer_sales_daily"


def run(stage: Stage, rows: int, database: Database) -> None:
    """Measure on a database that holds a history of that many rows and the rivals' full view."""
    views = {
        IDLE: rivals.OUR_VIEW,
        EVERY_SECOND: rivals.OUR_VIEW,
        OURS: rivals.OUR_VIEW,
        FULL: rivals.FULL_VIEW,
        PLAIN: rivals.FULL_VIEW,
    }
    found: dict[str, list[float]] = {who: [] for who in views}
    with database.connect() as connection:
        rivals.create_full_view(connection)
        for number in range(stage.options.rounds):
            stage.say(f"reads, {rows:,} rows, round {number + 1}")
            for who, view in views.items():
                with _in_the_background(who, database.url):
                    found[who].append(_p99(connection, view, stage.options.read_seconds))
        # Our refreshes had news because somebody changed lines; the backfill is to find what the files said.
        with connection.transaction():
            derive_days(connection, find_kind(RECEIVE_KIND), *2 * data.recent_days(1))
        ours.refresh_receive_daily(stage.catalog, connection)
        ours.refresh_rest(stage.catalog, connection)
        for who, values in found.items():
            stage.results.add(SECTION, READS, who, values, size=rows)
        _read_sales(stage, rows, connection)


def _read_sales(stage: Stage, rows: int, connection: Connection) -> None:
    """Measure the daily sales by customer, and see that they are what they were before."""
    rivals.create_sales_before(connection)
    first, last = data.LAST_DAY.replace(day=1), data.LAST_DAY
    for line, since in ((ONE_MONTH, first), (ALL_YEARS, data.FIRST_DAY)):
        times: dict[str, list[float]] = {OURS: [], SALES_LINES: []}
        for number in range(stage.options.slow_rounds):
            stage.say(f"{line}, {rows:,} rows, round {number + 1}")
            read = []
            for who, view in ((OURS, _SALES), (SALES_LINES, rivals.SALES_BEFORE)):
                query = sql.SQL("SELECT * FROM {} WHERE sales_date BETWEEN %s AND %s").format(identifier(view))
                with stopwatch(times[who]):
                    read.append(connection.execute(query, [since, last]).fetchall())
            if sorted(read[0]) != sorted(read[1]):
                raise rivals.BenchError(f"{_SALES} has other rows than before.")
        for who, values in times.items():
            stage.results.add(SECTION, line, who, values, size=rows)


def _p99(connection: Connection, view: str, seconds: float) -> float:
    days = data.history_days()
    draw = random.Random(1)  # noqa: S311  # which day is asked for hides nothing
    query = sql.SQL("SELECT * FROM {} WHERE ddate = %s").format(identifier(view))
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        day = draw.choice(days)
        started = time.perf_counter()
        connection.execute(query, [day]).fetchall()
        took.append(time.perf_counter() - started)
        time.sleep(_PAUSE_S)
    return percentile(took, 99)


@contextlib.contextmanager
def _in_the_background(who: str, url: str) -> Iterator[None]:
    """Let somebody's refreshes run during the block, from the end of the first one on."""
    if who == IDLE:
        yield
        return
    with subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-m", "bench.background", who, url],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        begun = process.stdout.readline()
        yield
        # It ends after the refresh that it is in: the server would go on with it while the next side is measured.
        process.terminate()
        if not begun or process.wait():
            raise rivals.BenchError("The refreshes that reads are measured under ended by themselves.")
