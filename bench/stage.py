"""Where the benchmark plays: an embedded server in a folder of its own, databases on it, and what a run asks for.

The server runs with its own default settings, for ours and for every rival alike.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
from psycopg import sql

from bench.report import Results
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.database.embedded import running_server
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import Settings

BUSINESS_DATE = date(2026, 6, 30)
RECEIVE_KIND = "shogun_final_receive"


@dataclass(frozen=True)
class Options:
    """What a run measures.

    Args:
        sizes: staging rows, one database for each.
        rounds: how often everything quick is measured.
        slow_rounds: how often everything slow is measured.
        drops: files dropped, one after the other, into the inbox of a real daemon.
        file_lines: lines of the large intake file.
        old_lines: lines of the file that the old way takes too, slow as it is.
        memory_lines: lines of the file whose intake's peak memory is measured.
        read_seconds: how long each round of reads lasts.
    """

    sizes: tuple[int, ...] = (200_000, 2_000_000)
    rounds: int = 5
    slow_rounds: int = 3
    drops: int = 10
    file_lines: int = 100_000
    old_lines: int = 20_000
    memory_lines: int = 1_000_000
    read_seconds: float = 2.0


@dataclass(frozen=True)
class Stage:
    """What every section works with.

    Args:
        settings: home and server of this run.
        catalog: the views of this working copy.
        options: what to measure.
        results: where measurements go.
        say: shows what is being done.
    """

    settings: Settings
    catalog: Catalog
    options: Options
    results: Results
    say: Callable[[str], None]

    def url(self, name: str) -> str:
        """The URL of a database on this run's server."""
        return database_url(self.settings, name)

    def create_database(self, name: str) -> Database:
        """Create a migrated, empty database in which today is BUSINESS_DATE."""
        with psycopg.connect(self.settings.resolved_database_url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        fix_business_date(self.url(name))
        database = Database(url=self.url(name))
        migrate(database, self.catalog)
        return database

    def drop_database(self, name: str) -> None:
        """Drop a database and give its disk space back."""
        with psycopg.connect(self.settings.resolved_database_url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def database_url(settings: Settings, name: str) -> str:
    """The URL of a database on the embedded server of these settings."""
    return f"postgresql://postgres@/{name}?host={settings.server_dir}"


def fix_business_date(url: str) -> None:
    """Make BUSINESS_DATE today in every later session of a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET mv_pipeline.business_date = {}").format(
                sql.Identifier(connection.info.dbname), sql.Literal(BUSINESS_DATE.isoformat())
            )
        )


@contextlib.contextmanager
def temporary_home() -> Iterator[Settings]:
    """Lend the settings of a new home in a temporary folder, with a path short enough for a socket."""
    for name in [name for name in os.environ if name.startswith(("MV_PIPELINE_", "DAGSTER_"))]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="mvb-"))
    # As root, the server runs under a user of its own, who has to get in.
    home.chmod(0o755)
    try:
        yield Settings(home=home, database_url=None, dagster_url=None)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def open_stage(options: Options, results: Results, say: Callable[[str], None]) -> Iterator[Stage]:
    """Start a server for one run of the benchmark; server and data are gone afterwards."""
    with temporary_home() as settings:
        prepare_folders(settings)
        with running_server(settings):
            yield Stage(settings, load_catalog(settings.sql_dir), options, results, say)


@contextlib.contextmanager
def stopwatch(seconds: list[float]) -> Iterator[None]:
    """Measure a block and append its seconds; a block that fails isn't counted."""
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)
