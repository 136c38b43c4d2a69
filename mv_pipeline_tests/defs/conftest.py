"""The definitions, read once for all tests of this folder."""

import dagster as dg
import pytest

from mv_pipeline.definitions import defs


@pytest.fixture(scope="session")
def definitions() -> dg.Definitions:
    return defs()
