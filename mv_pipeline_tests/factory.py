"""Builds CSV files for tests, line by line, from what a test wants to say; everything else is filled in validly."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import FileKind, find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline.refresh.views import prune_change_log, read_view_status, refresh_view
from mv_pipeline.settings import Settings

_FILLERS = {
    "date": "2025/12/01",
    "integer": "1",
    "numeric": "100",
    "text": "架空",
    "code": "000123",
    "time": "8:31",
}


def line(kind: str | FileKind = "shogun_final_receive", **cells: object) -> dict[str, str]:
    """A valid line of a kind by header, with the given columns' cells (by column name) put in."""
    kind = find_kind(kind) if isinstance(kind, str) else kind
    names = {column.name for column in kind.columns}
    assert cells.keys() <= names, f"unknown columns: {cells.keys() - names}"
    return {column.header: str(cells.get(column.name, _FILLERS[column.type])) for column in kind.columns}


def csv_text(lines: Iterable[Mapping[str, str]], newline: str = "\r\n") -> str:
    """The lines as CSV with a header line."""
    lines = list(lines)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(lines[0]), lineterminator=newline)
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def drop(inbox: Path, kind: str, name: str, content: str | bytes, encoding: str = "cp932") -> Path:
    """Put a file into the inbox."""
    path = inbox / kind / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def take(
    connection: Connection,
    settings: Settings,
    content: str | bytes | Sequence[Mapping[str, str]],
    kind: str = "shogun_final_receive",
    name: str = "a.csv",
    encoding: str = "cp932",
) -> Upload | None:
    """Put a file into the inbox and take it; lines become a CSV text."""
    text = content if isinstance(content, str | bytes) else csv_text(content)
    path = drop(settings.inbox_dir, kind, name, text, encoding)
    return take_file(connection, settings, find_kind(kind), path, "tester")


def roll_up(connection: Connection, catalog: Catalog) -> None:
    """Bring the stored rows of every rollup up to date, each in a transaction."""
    for rollup in catalog.rollups:
        with connection.transaction():
            update_rollup(connection, rollup)


def bring_up_to_date(connection: Connection, catalog: Catalog) -> list[str]:
    """Do what a run does below the staging tables: roll up, refresh what is stale, prune the change log.

    Args:
        connection: in autocommit mode.

    Returns:
        The views that were refreshed.
    """
    roll_up(connection, catalog)
    refreshed = []
    for view in catalog.materialized_views:
        (status,) = read_view_status(connection, [view])
        if status.stale:
            refresh_view(connection, view)
            refreshed.append(view.name)
    prune_change_log(connection)
    return refreshed


def read_report(path: Path) -> list[list[str]]:
    """The lines of an error report below its header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))[1:]
