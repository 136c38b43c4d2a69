"""One file's way: claim, inspect, load or reject, then move; the file moves only after the commit.

The claim is an advisory lock of the session, so it ends with the process, however that ends.
"""

import os
import time
from collections import Counter
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, session_lock
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
    with session_lock(connection, "intake", kind.name):
        try:
            upload = _take(connection, settings, kind, path, uploaded_by)
        except (FileNotFoundError, FileUnavailableError):
            return None
        rejected = upload.status == "rejected"
        folder = settings.rejected_dir / kind.name if rejected else inbox.archive_folder(settings, kind.name)
        # It is loaded, whoever moved the file meanwhile.
        with suppress(FileNotFoundError):
            place = inbox.move_into(path, folder).relative_to(settings.home)
            connection.execute("UPDATE log.taken_file SET path = %s WHERE upload_file_id = %s", [str(place), upload.id])
        return upload


def _take(connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str) -> Upload:
    max_bytes = settings.max_file_mb * 1_000_000
    with open_file(path) as opened:
        raise_if_open_for_writing(opened)
        before = os.fstat(opened.fileno())
        file, upload = find_left_behind(connection, inspect_file(opened, kind, path, uploaded_by, max_bytes))
        if upload is not None:
            return upload
        try:
            if file.size > max_bytes:
                raise RejectedFileError([Problem("too_large", value=f"{file.size:,} > {max_bytes:,} bytes")])
            with connection.transaction():
                upload = load_file(connection, file, opened)
                _raise_if_changed(path, opened, before)
            return upload
        except (UnicodeDecodeError, RejectedFileError) as error:
            # What could be decoded a moment ago, or isn't right yet, may just be written to.
            _raise_if_changed(path, opened, before)
            if isinstance(error, UnicodeDecodeError):
                raise
            is_new = abs(time.time() - before.st_ctime) < settings.unfinished_seconds
            if is_new and any(problem.may_pass for problem in error.problems):
                raise FileUnavailableError(f"{path} may not be finished.") from None
            return _reject(connection, settings, file, error)


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
