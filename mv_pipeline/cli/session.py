"""What every command needs: settings in the environment, folders, the server, and how it prints its answer."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from pathlib import Path

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.database.embedded import running_server
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.operations.logging import configure_logs
from mv_pipeline.refresh.views import require_migrated
from mv_pipeline.settings import PROJECT_ROOT, OperatorError, Settings, load_settings

# Text is data here, and a line stays one. Piped output has no width of its own; a record must stay on one line there.
console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

_GOOD, _BAD, _UNSURE = ("loaded", "success"), ("rejected", "failed", "missing"), ("unfinished", "duplicate")
_STYLES = {**dict.fromkeys(_GOOD, "green"), **dict.fromkeys(_BAD, "red"), **dict.fromkeys(_UNSURE, "yellow")}


class CommandError(OperatorError):
    """A command can't do what it was asked to."""


def prepare_dagster_home(settings: Settings) -> None:
    """Make DAGSTER_HOME, with a link to the committed dagster.yaml."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    link = settings.dagster_home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / "dagster.yaml":
        # Services start at the same time, so the link is replaced atomically.
        with tempfile.TemporaryDirectory(dir=settings.dagster_home) as folder:
            fresh = Path(folder) / "dagster.yaml"
            fresh.symlink_to(PROJECT_ROOT / "dagster.yaml")
            fresh.replace(link)


@contextlib.contextmanager
def session() -> Iterator[Settings]:
    """Prepare the home, hold the embedded server if there is one, and set the environment for Dagster."""
    settings = load_settings()
    configure_logs(settings)
    prepare_folders(settings)
    prepare_dagster_home(settings)
    os.environ.update(settings.environment())
    with running_server(settings):
        yield settings


def read_catalog(settings: Settings) -> Catalog:
    """The relations that the SQL files describe, with the pictures that there are."""
    return load_catalog(settings.sql_dir, picture_names())


@contextlib.contextmanager
def migrated_session() -> Iterator[Catalog]:
    """A session on a database that `migrate` has been run on; gives the relations it should hold.

    Raises:
        NotMigratedError: it hasn't been run.
    """
    with session() as settings:
        with Database().connect("session") as connection:
            require_migrated(connection)
        yield read_catalog(settings)


def answer(
    data: object, as_json: bool, *shown: RenderableType, problems: Sequence[str] = (), failed: bool = False
) -> None:
    """Print data as JSON, or what it means as text and tables, then the problems, a line each.

    Raises:
        typer.Exit: there are problems, or something failed that is shown already; the exit code is 1.
    """
    if as_json:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2, default=_as_json) + "\n")
    for part in () if as_json else shown:
        console.print(part, soft_wrap=not isinstance(part, Table))
    for problem in problems:
        errors.print(problem)
    if problems or failed:
        raise typer.Exit(1)


def _as_json(value: object) -> object:
    """What JSON has no word for: weights as numbers, days and paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return float(value) if isinstance(value, Decimal) else str(value)


def new_table(title: str, records: Sequence[Mapping[str, object]]) -> Table:
    """Make a table of records of the same fields, with a column for each field.

    In a terminal it has a frame and a title; piped, a record is a line, without frame, title or colour.
    """
    framed = console.is_terminal
    table = Table(title=title, box=box.SIMPLE) if framed else Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in records[0] if records else ():
        number = any(isinstance(record[name], int | float | Decimal) for record in records)
        table.add_column(name, justify="right" if number else "left", no_wrap=not framed)
    for record in records:
        table.add_row(*map(_cell, record.values()))
    return table


def _cell(value: object) -> Text:
    if isinstance(value, float | Decimal):
        return Text(f"{value:,.3f}".rstrip("0").rstrip("."))
    if isinstance(value, list | tuple):
        return Text(", ".join(map(str, value)))
    text = "" if value is None else str(value)
    return Text(text, _STYLES.get(text, ""))
