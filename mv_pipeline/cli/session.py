"""What every command needs: settings in the environment, folders, the server, and how it prints its answer."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_file import load_catalog
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.database.dagster_storage import prepare_dagster_home
from mv_pipeline.database.embedded import running_server
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.operations.logging import configure_logs
from mv_pipeline.settings import OperatorError, Settings, load_settings

# Text is data here, and a line stays one. Piped output has no width of its own; a record must stay on one line there.
console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

_GOOD, _BAD, _UNSURE = ("loaded", "success"), ("rejected", "failed", "missing"), ("unfinished", "duplicate")
_STYLES = {**dict.fromkeys(_GOOD, "green"), **dict.fromkeys(_BAD, "red"), **dict.fromkeys(_UNSURE, "yellow")}


class CommandError(OperatorError):
    """A command can't do what it was asked to."""


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
def migrated_session() -> Iterator[tuple[Settings, Catalog]]:
    """A session on a database that `migrate` has been run on, and the relations it should hold.

    Raises:
        CommandError: it hasn't been run.
    """
    with session() as settings:
        with Database().connect("session") as connection:
            if scalar(connection, "SELECT to_regclass('log.relation') IS NULL"):
                raise CommandError("Nothing has been created in this database yet. Run `mv-pipeline migrate`.")
        yield settings, read_catalog(settings)


def print_records(records: Sequence[Mapping[str, object]], as_json: bool, title: str) -> None:
    """Print records of the same fields as JSON, or as a table with a column for each field."""
    if as_json:
        print_json(records)
        return
    headings = list(records[0]) if records else []
    numbers = {name for name in headings if any(isinstance(record[name], int | float | Decimal) for record in records)}
    table = new_table(title, *headings, right=tuple(numbers))
    for record in records:
        table.add_row(*map(_cell, record.values()))
    console.print(table, soft_wrap=False)


def print_answer(data: object, as_json: bool, text: str) -> None:
    """Print data as JSON, or what it means as text."""
    if as_json:
        print_json(data)
    else:
        console.print(text)


def print_json(data: object) -> None:
    """Print JSON: weights as numbers, days and paths as text."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2, default=_plain) + "\n")


def new_table(title: str, *headings: str, right: tuple[str, ...] = ()) -> Table:
    """Make an empty table: framed in a terminal; piped, one record a line without frame, title or colour.

    Args:
        title: above it, in a terminal.
        right: those of the headings whose columns hold numbers.
    """
    if not console.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    else:
        table = Table(title=title, box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=not console.is_terminal)
    return table


def _cell(value: object) -> Text:
    if isinstance(value, float | Decimal):
        return Text(f"{value:,.3f}".rstrip("0").rstrip("."))
    if isinstance(value, list | tuple):
        return Text(", ".join(map(str, value)))
    text = "" if value is None else str(value)
    return Text(text, _STYLES.get(text, ""))


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)
