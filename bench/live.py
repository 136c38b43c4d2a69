"""Section `drop`: from a file in the inbox to fresh views, through `mv-pipeline dev` with its real daemon.

It has a home and a server of its own, with a history of the smallest size. Nothing is hurried on its account: the
settings are the committed ones, and each file is as new as its drop, so it has to come to rest first.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import data
from bench.report import DROP_ALL, DROP_THREE, DROP_VIEW, OURS, RUNS
from bench.rivals import OUR_VIEW, BenchError
from bench.stage import RECEIVE_KIND, Stage, fix_business_date, temporary_home
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.database.embedded import running_server
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.demo import sample
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import Settings

SECTION = "Drop to fresh"
_TIMEOUT_S = 180
_STOP_S = 60
_POLL_S = 0.05
_WARM_UPS = 2
_SPREAD_S = 5.0
_UNDER_WAY = "QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING"


def run(stage: Stage) -> None:
    """Measure with a daemon of this run's own."""
    rows = min(stage.options.sizes)
    with temporary_home() as home:
        settings = home.model_copy(update={"port": _free_port()})
        prepare_folders(settings)
        with running_server(settings):
            database = Database(url=settings.resolved_database_url())
            fix_business_date(database.url)
            stage.say(f"a home with {rows:,} rows")
            migrate(database, stage.catalog)
            with database.connect() as connection:
                data.fill_history(connection, stage.catalog, rows)
            with _dev(settings) as graphql, database.connect() as connection:
                _measure(stage, _Plant(settings, connection, stage.catalog, graphql), rows)


@dataclass(frozen=True)
class _Plant:
    """A home with a daemon at work.

    Args:
        settings: of the home.
        connection: to its database.
        catalog: whose views have to be fresh in the end.
        graphql: asks the web server.
    """

    settings: Settings
    connection: Connection
    catalog: Catalog
    graphql: Callable[[str], Any]

    def drop(self, files: list[Path]) -> tuple[float, float]:
        """Drop files, `<kind>/<name>` each, together.

        Returns:
            The seconds until mv_receive_daily was fresh, and until every view was.
        """
        hidden = [self.settings.inbox_dir / path.parent.name / f".{path.name}" for path in files]
        for path, target in zip(files, hidden, strict=True):
            shutil.copyfile(path, target)
        before = self._loaded()
        started = time.perf_counter()
        for target in hidden:
            target.rename(target.with_name(target.name[1:]))
        self.wait_until("the files are loaded", lambda: self._loaded() == before + len(files))
        daily = self.catalog.relations[OUR_VIEW]
        self.wait_until(f"{OUR_VIEW} is fresh", lambda: self._fresh([daily]))
        seen = time.perf_counter() - started
        self.wait_until("every view is fresh", lambda: self._fresh(self.catalog.materialized_views))
        return seen, time.perf_counter() - started

    def runs(self) -> int:
        """How many runs of the ingest job there have been."""
        return self._count(f'pipelineName: "{INGEST}"')

    def wait_for_quiet(self) -> None:
        """Wait until no run is under way."""
        self.wait_until("the runs have ended", lambda: not self._count(f"statuses: [{_UNDER_WAY}]"))

    def wait_until(self, what: str, holds: Callable[[], bool]) -> None:
        """Poll until it holds.

        Raises:
            BenchError: it doesn't within _TIMEOUT_S.
        """
        deadline = time.monotonic() + _TIMEOUT_S
        while not holds():
            if time.monotonic() > deadline:
                raise BenchError(f"Waited {_TIMEOUT_S} s in vain until {what}.")
            time.sleep(_POLL_S)

    def _loaded(self) -> int:
        return int(scalar(self.connection, "SELECT count(*) FROM log.upload_file WHERE processing_status = 'success'"))

    def _fresh(self, views: list[Relation]) -> bool:
        return not any(status.stale for status in read_view_status(self.connection, views))

    def _count(self, condition: str) -> int:
        answer = self.graphql(f"{{ runsOrError(filter: {{{condition}}}) {{ ... on Runs {{ results {{ id }} }} }} }}")
        return len(answer["runsOrError"]["results"])


def _measure(stage: Stage, plant: _Plant, rows: int) -> None:
    draw = random.Random(1)  # noqa: S311  # when a file is dropped hides nothing
    to_daily: list[float] = []
    to_last: list[float] = []
    for number in range(stage.options.drops + _WARM_UPS):
        stage.say(f"drop {number + 1} of {stage.options.drops + _WARM_UPS}")
        path = _write(plant.settings, number)
        # The daemon ticks every few seconds; a drop may come at any time between two ticks.
        time.sleep(draw.uniform(0, _SPREAD_S))
        daily, last = plant.drop([path])
        if number >= _WARM_UPS:
            to_daily.append(daily)
            to_last.append(last)
        plant.wait_for_quiet()
    before = plant.runs()
    stage.say("three files at once")
    week = sample.write_files(plant.settings.home / "sample", data.LAST_DAY, weeks=1)
    others = [path for path in week if path.parent.name in ("shogun_flash_shipment", "shogun_flash_yard")]
    _, three = plant.drop([_write(plant.settings, stage.options.drops + _WARM_UPS), *others])
    plant.wait_for_quiet()
    note = f"{data.LINES_PER_DAY} lines"
    stage.results.add(SECTION, DROP_VIEW, OURS, to_daily, size=rows, note=note)
    stage.results.add(SECTION, DROP_ALL, OURS, to_last, size=rows, note=note)
    stage.results.add(SECTION, DROP_THREE, OURS, [three], size=rows, note="receive, shipment, yard")
    stage.results.add(SECTION, RUNS, OURS, [plant.runs() - before], size=rows, unit="runs")


def _write(settings: Settings, number: int) -> Path:
    """Write a file of one of the newest days, outside of the inbox."""
    path = settings.home / "files" / RECEIVE_KIND / f"{number}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    days = data.recent_days(data.RECENT_DAYS)
    return data.write_receive_file(path, [days[-1 - number % len(days)]], data.LINES_PER_DAY, number)


@contextlib.contextmanager
def _dev(settings: Settings) -> Iterator[Callable[[str], Any]]:
    """Run `mv-pipeline dev` with the committed settings, and lend a way to ask its web server."""
    log_path = settings.home / "dev.log"
    # Each run is a new process, so it matters that Python keeps what it compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"MV_PIPELINE_HOME": str(settings.home), "MV_PIPELINE_PORT": str(settings.port)}
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [str(Path(sys.executable).with_name("mv-pipeline")), "dev"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def graphql(query: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{settings.port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    return json.load(answer)["data"]
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"`mv-pipeline dev` doesn't answer: {log_path.read_text()[-2000:]}") from None
                time.sleep(_POLL_S)

    try:
        graphql("{ version }")
        yield graphql
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(_STOP_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
