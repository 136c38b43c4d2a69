"""What a daemon's run does, in a process of its own that can be told where to die.

Boundaries are named here; that a process dies is nothing that the pipeline's code knows of.
"""

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.intake.inbox import scan
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.settings import Settings, load_settings
from mv_pipeline_tests.factory import bring_up_to_date


@dataclass(frozen=True)
class Boundary:
    """A place between two steps.

    Args:
        name: what has just happened, or is about to.
        module: the module whose function is called there.
        function: the function's name, as that module calls it.
        side: before or after the call.
    """

    name: str
    module: str
    function: str
    side: Literal["before", "after"]


INTAKE = (
    Boundary("file opened", "mv_pipeline.intake.ingest", "open_file", "after"),
    Boundary("file inspected", "mv_pipeline.intake.ingest", "inspect_file", "after"),
    Boundary("upload logged", "mv_pipeline.intake.load", "log_upload", "after"),
    Boundary("lines copied into raw", "mv_pipeline.intake.cells", "select_typed", "before"),
    Boundary("lines typed into stg", "mv_pipeline.intake.load", "_load_lines", "after"),
    Boundary("cells judged", "mv_pipeline.intake.load", "_raise_problems", "after"),
    Boundary("earlier lines soft-deleted", "mv_pipeline.intake.load", "replace_days", "after"),
    Boundary("log finished", "mv_pipeline.intake.load", "Upload", "before"),
    Boundary("file loaded, not committed", "mv_pipeline.intake.ingest", "load_file", "after"),
    Boundary("file committed, not moved", "mv_pipeline.intake.inbox", "move_into", "before"),
    Boundary("place in the archive reserved", "mv_pipeline.intake.inbox", "reserve", "after"),
    Boundary("file moved, not noted", "mv_pipeline.intake.inbox", "move_into", "after"),
    Boundary("report begun", "mv_pipeline.intake.ingest", "write_report", "before"),
    Boundary("report written", "mv_pipeline.intake.ingest", "write_report", "after"),
    Boundary("rejection logged, file not moved", "mv_pipeline.intake.ingest", "log_upload", "after"),
)
ROLLUP = (
    Boundary("rollup locked", "mv_pipeline.refresh.rollup", "_lock", "after"),
    Boundary("days recomputed", "mv_pipeline.refresh.rollup", "_recompute", "after"),
    Boundary("rolled up, not committed", "mv_pipeline_tests.factory", "update_rollup", "after"),
    Boundary("change log pruned", "mv_pipeline_tests.factory", "prune_change_log", "after"),
)
REFRESH = (
    Boundary("staleness known", "mv_pipeline_tests.factory", "read_view_status", "after"),
    Boundary("refresh about to begin", "mv_pipeline.refresh.views", "limit_waits", "after"),
    Boundary("view refreshed, not logged", "mv_pipeline.refresh.views", "log_refresh", "before"),
    Boundary("refresh logged, not committed", "mv_pipeline.refresh.views", "log_refresh", "after"),
    Boundary("refresh committed", "mv_pipeline_tests.factory", "refresh_view", "after"),
)
BOUNDARIES = (*INTAKE, *ROLLUP, *REFRESH)


def tick(settings: Settings, catalog: Catalog) -> None:
    """Take every file, roll up, refresh what is stale: the steps of one run."""
    with Database(url=settings.resolved_database_url()).connect("test") as connection:
        for file in scan(settings.inbox_dir).at_rest({}, 0):
            take_file(connection, settings, find_kind(file.kind), file.path, "test")
        bring_up_to_date(connection, catalog)


def run(environment: dict[str, str], boundary: Boundary | None, call: int, started: Any) -> None:
    """Run one tick; with a boundary, die of SIGKILL there.

    Args:
        environment: the plant's settings.
        boundary: where to die; None: nowhere by itself.
        call: at which call of the boundary's function; 1 is the first.
        started: an event that is set when the work begins.
    """
    os.environ.update(environment)
    settings = load_settings()
    catalog = load_catalog(settings.sql_dir)
    if boundary:
        _die_at(boundary, call)
    started.set()
    tick(settings, catalog)


def _die_at(boundary: Boundary, call: int) -> None:
    module = importlib.import_module(boundary.module)
    function: Callable[..., Any] = getattr(module, boundary.function)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and boundary.side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, boundary.function, dying)
