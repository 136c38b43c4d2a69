"""One database for all intake tests, emptied before each: they write to raw, stg and log only, and to copy is slow."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import clear_environment, create_database, drop_database


@pytest.fixture(scope="package")
def database_url(server: Settings, template: str) -> Iterator[str]:
    url = create_database(server, template)
    yield url
    drop_database(server, url)


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of the test's own, and the database without any file in it."""
    clear_environment(monkeypatch)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for kind in KINDS:
            connection.execute(f"DELETE FROM raw.{kind.name}")
            connection.execute(f"DELETE FROM stg.{kind.name}")
        connection.execute("DELETE FROM log.upload_file")
        connection.execute("DELETE FROM log.taken_file")
        connection.execute("DELETE FROM log.change_note")
    settings = Settings(home=tmp_path, database_url=database_url, settle_seconds=0, unfinished_seconds=0)
    prepare_folders(settings)
    return settings
