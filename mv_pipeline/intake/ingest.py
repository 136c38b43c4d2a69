"""One file's way: claim, inspect, load or reject, then move; the file moves only after the commit.

A file is claimed by locking its staging table: nobody else writes there before the commit, whoever he is, and the lock
ends with the process, however that ends.
"""

import os
import time
from collections import Counter
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, limit_waits, lock_table
from mv_pipeline.intake import inbox
from mv_pipeline.intake.load import IncomingFile, Upload, find_left_behind, inspect_file, load_file, log_upload
from mv_pipeline.intake.reader import FileUnavailableError, open_file, raise_if_open_for_writing
from mv_pipeline.intake.rejection import Problem, RejectedFileError, write_report
from mv_pipeline.settings import Settings


def take_file(
    connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str
) -> Upload | None:
    """Load or reject one file of the inbox and move it to its archive or to the rejected files.

    A file that was taken before and only couldn't be moved is not loaded again, whatever came after it.

    Args:
        connection: in autocommit mode.
        settings: where archive and rejected files go, and the size limit.
        kind: the kind of the folder it lies in.
        path: the file.

    Returns:
        What became of it; None if it is gone, not finished, or no regular file, and nothing was done.
    """
    try:
        with connection.transaction():
            limit_waits(connection)
            lock_table(connection, f"stg.{kind.name}")
            upload, before = _take(connection, settings, kind, path, uploaded_by)
    except (FileNotFoundError, FileUnavailableError):
        return None
    rejected = upload.status == "rejected"
    folder = settings.rejected_dir / kind.name if rejected else inbox.archive_folder(settings, kind.name)
    # It is taken, whoever has moved it meanwhile, or put another one in its place.
    with suppress(FileNotFoundError):
        if not inbox.has_changed(path, before):
            place = inbox.move_into(path, folder).relative_to(settings.home)
            connection.execute("UPDATE log.taken_file SET path = %s WHERE upload_file_id = %s", [str(place), upload.id])
    return upload


def _take(
    connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str
) -> tuple[Upload, os.stat_result]:
    """Load a file, or log why it is rejected; in the caller's transaction, after which the file is to be moved.

    Returns:
        What became of it, and the file's state when it was opened.
    """
    max_bytes = settings.max_file_mb * 1_000_000
    with open_file(path) as opened:
        raise_if_open_for_writing(opened)
        before = os.fstat(opened.fileno())
        file, upload = find_left_behind(connection, inspect_file(opened, kind, path, uploaded_by, max_bytes))
        if upload is not None:
            return upload, before
        try:
            if file.size > max_bytes:
                raise RejectedFileError([Problem("too_large", value=f"{file.size:,} > {max_bytes:,} bytes")])
            with connection.transaction():
                upload = load_file(connection, file, opened)
                _raise_if_changed(path, opened, before)
            return upload, before
        except (UnicodeDecodeError, RejectedFileError) as error:
            # What could be decoded a moment ago, or isn't right yet, may just be written to.
            _raise_if_changed(path, opened, before)
            if isinstance(error, UnicodeDecodeError):
                raise
            is_new = abs(time.time() - before.st_ctime) < settings.unfinished_seconds
            if is_new and any(problem.may_pass for problem in error.problems):
                raise FileUnavailableError(f"{path} may not be finished.") from None
            return _reject(connection, settings, file, error), before


def _reject(connection: Connection, settings: Settings, file: IncomingFile, error: RejectedFileError) -> Upload:
    """Log a rejection together with its report, which is written before the log row that names it."""
    folder = settings.rejected_dir / file.kind.name
    folder.mkdir(parents=True, exist_ok=True)
    report = inbox.reserve(folder, inbox.free_path(folder, file.name).name, ".errors.csv")
    write_report(report, error)
    metadata = {
        "problems": error.count,
        "codes": Counter(problem.code for problem in error.problems),
        "report": str(report.relative_to(settings.rejected_dir)),
    }
    upload_id = log_upload(connection, file, "failed", metadata, error_message=str(error))
    return Upload(upload_id, file.name, "rejected", message=str(error))


def _raise_if_changed(path: Path, opened: BufferedReader, before: os.stat_result) -> None:
    if inbox.has_changed(path, before):
        raise FileUnavailableError(f"{path} was written to while it was read.")
    raise_if_open_for_writing(opened)
