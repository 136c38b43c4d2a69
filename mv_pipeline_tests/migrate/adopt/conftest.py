"""One running database, built once and copied for each test; `database` and `connection` lead into the copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mv_pipeline.database.connection import Database
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import create_database, drop_database, use
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
    yield url.split("/")[3].split("?")[0]
    drop_database(server, url)


@pytest.fixture
def running(server: Settings, running_template: str) -> Iterator[str]:
    """The URL of a running database of the test's own."""
    url = create_database(server, running_template)
    yield url
    drop_database(server, url)


@pytest.fixture
def settings(running: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of the test's own, and the running database; the environment names both."""
    return use(Settings(home=tmp_path, database_url=running, settle_seconds=0), monkeypatch)
