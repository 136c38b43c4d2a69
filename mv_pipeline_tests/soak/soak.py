"""One soak from beginning to end: make the plant, let everybody act, wait until it has come to rest, and judge."""

import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.database.connection import Database
from mv_pipeline.database.embedded import running_server
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.processes import free_port
from mv_pipeline_tests.soak.actors import Actors
from mv_pipeline_tests.soak.books import Books
from mv_pipeline_tests.soak.plant import Plant, wait_until
from mv_pipeline_tests.soak.verdict import losses

_FAULTS = 7
_LONGEST_BETWEEN_FAULTS_S = 45
_REST_S = 420
# The sensor of alerts comes every 30 s; what has gone is over after two minutes more.
_TOLD_S, _OVER_S = 45, 180
_LONG_MINUTES = 5


@dataclass
class Soak:
    """What came of it.

    Args:
        losses: a sentence for each thing that isn't as it has to be.
        waits_s: how long each good file waited for the transaction that loaded it.
    """

    minutes: float
    books: Books
    losses: list[str]
    waits_s: list[float]

    def __str__(self) -> str:
        figures = [f"  {name}: {number:,}" for name, number in sorted(self.books.tally.items())]
        waits = sorted(self.waits_s)
        if waits:
            figures.append(
                f"  seconds from drop to load: median {statistics.median(waits):.1f}, "
                f"95 % {waits[int(0.95 * (len(waits) - 1))]:.1f}, longest {waits[-1]:.1f}"
            )
        wrong = [f"! {loss}" for loss in self.losses]
        return "\n".join([f"A soak of {self.minutes:g} minutes: {len(wrong)} losses", *figures, *wrong])


def soak(minutes: float, seed: int) -> Soak:
    """Run a soak of so many minutes in a home of its own, and judge."""
    books = Books()
    threading.excepthook = lambda died: books.lose(f"a thread of the soak died: {died.exc_type}: {died.exc_value}")
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", database_url=None, dagster_url=None, port=free_port())
        with running_server(settings):
            prepare_folders(settings)
            prepare_dagster_home(settings)
            migrate(Database(url=settings.resolved_database_url()), load_catalog(PROJECT_ROOT / "sql"))
            plant = Plant(settings, books)
            actors = Actors(plant, books, seed)
            actors.begin()
            with plant.daemon():
                if not wait_until(lambda: not plant.waiting_files(), _REST_S):
                    return Soak(minutes, books, [f"the daemon took no file: {plant.log.read_text()[-2000:]}"], [])
                seconds = 60 * minutes
                actors.run(seconds, min(seconds / (_FAULTS + 1), _LONGEST_BETWEEN_FAULTS_S))
                if not wait_until(lambda: _is_at_rest(plant), _REST_S):
                    books.lose(f"it never came to rest within {_REST_S} s")
                time.sleep(_TOLD_S if minutes < _LONG_MINUTES else _OVER_S)
            if not wait_until(lambda: not plant.processes(), _REST_S):
                books.lose(f"processes left behind: {[process.cmdline() for process in plant.processes()]}")
            wrong = losses(plant, books, all_over=minutes >= _LONG_MINUTES)
            return Soak(minutes, books, wrong, _waits(plant, books))


def _is_at_rest(plant: Plant) -> bool:
    """Every file is taken, no run is under way, and every view has seen everything."""
    try:
        with plant.connect("soak") as connection, plant.dagster() as dagster:
            (stale,) = connection.execute("SELECT count(*) FROM log.v_view_status WHERE stale").fetchone()
            (runs,) = dagster.execute(
                "SELECT count(*) FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return not stale and not runs and not plant.waiting_files()


def _waits(plant: Plant, books: Books) -> list[float]:
    dropped = {drop.name: drop.at for drop in books.drops if drop.outcome == "loaded"}
    with plant.connect("soak") as connection:
        rows = connection.execute("SELECT file_name, extract(epoch FROM uploaded_at)::float FROM log.upload_file")
        return [at - dropped[name] for name, at in rows if name in dropped]
