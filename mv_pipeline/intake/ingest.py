"""One file's way: claim, inspect, load or reject, then move; the file moves only after the commit.

The claim is an advisory lock of the session, so it ends with the process, however that ends.
"""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, session_lock
from mv_pipeline.intake import inbox
from mv_pipeline.intake.load import IncomingFile, Upload, find_logged, inspect_file, load_file, log_upload
from mv_pipeline.intake.reader import FileUnavailableError, open_file
from mv_pipeline.intake.rejection import Problem, RejectedFileError, write_report
from mv_pipeline.settings import Settings


def take_file(
    connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str
) -> Upload | None:
    """Load or reject one file of the inbox and move it to its archive or to the rejected files.

    Args:
        connection: in autocommit mode.
        settings: where archive and rejected files go, and the size limit.
        kind: the kind of the folder it lies in.
        path: the file.

    Returns:
        What became of it; None if it is gone, still being written to, or no regular file, and nothing was done.
    """
    with session_lock(connection, "intake", kind.name):
        try:
            return _load_and_move(connection, settings, kind, path, uploaded_by)
        except (FileNotFoundError, FileUnavailableError):
            return None


def _load_and_move(connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str) -> Upload:
    max_bytes = settings.max_file_mb * 1_000_000
    with open_file(path) as opened:
        before = os.fstat(opened.fileno())
        file = inspect_file(opened, kind, inbox.printable_name(path.name), uploaded_by, max_bytes)
        try:
            if file.size > max_bytes:
                raise RejectedFileError([Problem("too_large", value=f"{file.size:,} > {max_bytes:,} bytes")])
            with connection.transaction():
                upload = load_file(connection, file, opened)
                _raise_if_changed(path, before)
        except UnicodeDecodeError:
            # It could be decoded a moment ago.
            _raise_if_changed(path, before)
            raise
        except RejectedFileError as error:
            _raise_if_changed(path, before)
            return _reject(connection, settings, file, path, error)
    # It is loaded, whoever moved the file meanwhile.
    with suppress(FileNotFoundError):
        inbox.move_into(path, inbox.archive_folder(settings, kind.name))
    return upload


def _reject(
    connection: Connection, settings: Settings, file: IncomingFile, path: Path, error: RejectedFileError
) -> Upload:
    """Log the rejection together with its report, then move the file next to it.

    The report is written before the log row that names it; a next try only moves the file.
    """
    folder = settings.rejected_dir / file.kind.name
    upload_id = find_logged(connection, file, "failed")
    if upload_id is None:
        folder.mkdir(parents=True, exist_ok=True)
        report = inbox.reserve(folder, inbox.free_path(folder, file.name).name, ".errors.csv")
        write_report(report, error)
        metadata = {
            "problems": error.count,
            "codes": Counter(problem.code for problem in error.problems),
            "report": str(report.relative_to(settings.rejected_dir)),
        }
        upload_id = log_upload(connection, file, "failed", metadata, error_message=str(error))
    inbox.move_into(path, folder)
    return Upload(upload_id, file.name, "rejected", message=str(error))


def _raise_if_changed(path: Path, before: os.stat_result) -> None:
    now = path.stat(follow_symlinks=False)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
        raise FileUnavailableError(f"{path} was written to while it was read.")
