"""`ingest`: copies files into the inbox and runs the sensor's job on them in this process."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.runs import run_job
from mv_pipeline.cli.session import CommandError
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.defs.sensors import ingest_request
from mv_pipeline.intake.inbox import hidden, printable_name, reserve
from mv_pipeline.settings import Settings

_WAIT_S = 60.0


@dataclass(frozen=True)
class Ingested:
    """What became of one file: the log's row, and the reason if it was rejected."""

    kind: str
    file_name: str
    upload_file_id: int
    status: str
    rows: int
    message: str | None


def ingest_files(
    settings: Settings, catalog: Catalog, files: Sequence[tuple[str, Path]], uploaded_by: str
) -> tuple[list[Ingested], dg.ExecuteInProcessResult]:
    """Copy files into the inbox, run the job, and read from the log what became of each.

    Args:
        settings: where the inbox is.
        catalog: the relations.
        files: kind and path of each, in the order in which they count; the paths stay where they are.
        uploaded_by: for the log.

    Raises:
        CommandError: a path is no CSV file.
    """
    for _, path in files:
        if not path.is_file() or path.suffix.lower() != ".csv":
            raise CommandError(f"{path} is no .csv file.")
    with Database().connect("ingest") as connection:
        newest = scalar(connection, "SELECT coalesce(max(id), 0) FROM log.upload_file")
    placed = [(kind, _place(settings, kind, path)) for kind, path in files]
    request = ingest_request(catalog, placed, uploaded_by)
    result = run_job(
        INGEST, request.asset_selection, request.run_config, request.tags, title=f"Ingesting {len(files)} files"
    )
    with Database().connect("ingest") as connection:
        return _outcomes(connection, placed, newest), result


def _place(settings: Settings, kind: str, path: Path) -> str:
    """Put a copy into the inbox in one move, so that nobody sees half a file."""
    folder = settings.inbox_dir / find_kind(kind).name
    # With a dot in front nobody would ever take it.
    name = f"_{path.name}" if path.name.startswith(".") else path.name
    target = reserve(folder, printable_name(name))
    copy = hidden(target)
    shutil.copyfile(path, copy)
    copy.replace(target)
    return target.name


def _outcomes(connection: Connection, placed: list[tuple[str, str]], newest: int) -> list[Ingested]:
    # A running sensor may have been quicker than this run and still be at it.
    deadline = time.monotonic() + _WAIT_S
    while True:
        found = [_outcome(connection, kind, name, newest) for kind, name in placed]
        outcomes = [outcome for outcome in found if outcome is not None]
        if len(outcomes) == len(placed) or time.monotonic() > deadline:
            return outcomes
        time.sleep(0.5)


def _outcome(connection: Connection, kind_name: str, name: str, newest: int) -> Ingested | None:
    kind = find_kind(kind_name)
    row = connection.execute(
        "SELECT id, processing_status, metadata->>'duplicate_of', coalesce(row_count, 0), error_message "
        "FROM log.upload_file WHERE id > %s AND file_name = %s AND file_type = %s AND csv_type = %s "
        "ORDER BY id DESC LIMIT 1",
        [newest, name, kind.version.upper(), kind.list.csv_type],
    ).fetchone()
    if row is None:
        return None
    upload_id, status, duplicate_of, rows, message = row
    if duplicate_of:
        status, message = "duplicate", f"the same content is active as upload {duplicate_of}"
    return Ingested(kind_name, name, upload_id, status, rows, message)
