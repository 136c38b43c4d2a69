"""A plant for each test: one database for all of them, in which nothing that a test does stays."""

from collections.abc import Iterator

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.settings import Settings
from mv_pipeline_tests.sql.history import Plant, new_plant


@pytest.fixture(scope="session")
def empty_plant(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plant]:
    """The database as `migrate` leaves it; only read from it, or use `plant`."""
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        yield plant


@pytest.fixture
def plant(empty_plant: Plant) -> Iterator[Plant]:
    """A plant without history; all that the test does is taken back at its end."""
    with empty_plant.trial():
        yield empty_plant
