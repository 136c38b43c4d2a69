"""One running database, built once and copied for each test; `database` and `connection` lead into the copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import create_database, database_name, drop_database, use
from mv_pipeline_tests.migrate.adopt import running_database


@pytest.fixture(scope="session")
def running_roles(server: Settings) -> Iterator[None]:
    with running_database.roles(server):
        yield


@pytest.fixture(scope="session")
def running_template(server: Settings, running_roles: None) -> Iterator[str]:
    """The name of a running database that nobody has moved into."""
    url = create_database(server)
    with Database(url=url).connect() as connection:
        running_database.build(connection)
    yield database_name(url)
    drop_database(server, url)


@pytest.fixture(scope="session")
def moved_template(server: Settings, running_template: str, catalog: Catalog) -> Iterator[str]:
    """The name of the running database after `migrate`."""
    url = create_database(server, running_template)
    migrate(Database(url=url), catalog)
    yield database_name(url)
    drop_database(server, url)


@pytest.fixture
def running(request: pytest.FixtureRequest, server: Settings, running_template: str) -> Iterator[str]:
    """The URL of a running database of the test's own: as it was, or with the mark `moved` as `migrate` leaves it."""
    moved = request.node.get_closest_marker("moved")
    url = create_database(server, request.getfixturevalue("moved_template") if moved else running_template)
    yield url
    drop_database(server, url)


@pytest.fixture
def settings(running: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of the test's own, and the running database; the environment names both."""
    return use(Settings(home=tmp_path, database_url=running, settle_seconds=0), monkeypatch)
