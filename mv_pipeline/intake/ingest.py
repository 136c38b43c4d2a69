"""One file's way: claim, inspect, load or reject, then move; the file moves only after the commit.

The claim is an advisory lock of the session, so it ends with the process, however that ends.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, session_lock
from mv_pipeline.intake import inbox
from mv_pipeline.intake.load import Upload, find_logged, load_file, log_rejection, log_upload
from mv_pipeline.intake.reader import FileChangedError, FileFacts, NotAFileError, hash_file, inspect_file, open_file
from mv_pipeline.intake.rejection import Code, RejectedFileError, write_report
from mv_pipeline.settings import Settings


def take_file(
    connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str
) -> Upload | None:
    """Load or reject one file of the inbox and move it away.

    Args:
        connection: in autocommit mode.
        settings: where archive and rejected files go, and the size limit.
        kind: the kind of the folder it lies in.
        path: the file.
        uploaded_by: for the log.

    Returns:
        What became of it; None if it is gone, still being written to, or no regular file, and nothing was done.
    """
    with session_lock(connection, "intake", kind.name):
        try:
            return _load_and_move(connection, settings, kind, path, uploaded_by)
        except (FileNotFoundError, FileChangedError, NotAFileError):
            return None


def _load_and_move(connection: Connection, settings: Settings, kind: FileKind, path: Path, uploaded_by: str) -> Upload:
    name = inbox.printable_name(path.name)
    with open_file(path) as file:
        before = os.fstat(file.fileno())
        identity = f"{before.st_dev}-{before.st_ino}-{before.st_ctime_ns}"
        facts = FileFacts(before.st_size, "", "", identity)
        try:
            facts = replace(inspect_file(file, settings.max_file_mb * 1_000_000), identity=identity)
            with connection.transaction():
                upload = load_file(connection, kind, name, file, facts, uploaded_by)
                _raise_if_changed(path, before)
        except UnicodeDecodeError:
            # It could be decoded a moment ago.
            _raise_if_changed(path, before)
            raise
        except RejectedFileError as error:
            _raise_if_changed(path, before)
            if not facts.sha256 and error.problems[0].code is not Code.TOO_LARGE:
                facts = replace(facts, sha256=hash_file(file))
            return _reject(connection, settings, kind, path, facts, error, uploaded_by)
    # It is loaded, whoever took the file away meanwhile.
    with suppress(FileNotFoundError):
        inbox.move_into(path, inbox.archive_folder(settings, kind.name))
    return upload


def _reject(
    connection: Connection,
    settings: Settings,
    kind: FileKind,
    path: Path,
    facts: FileFacts,
    error: RejectedFileError,
    uploaded_by: str,
) -> Upload:
    """Log the rejection together with its report, then move the file next to it.

    The report is written before the log row that names it is committed; a next try only moves the file.
    """
    name = inbox.printable_name(path.name)
    folder = settings.rejected_dir / kind.name
    upload_id = find_logged(connection, kind, facts, "failed")
    if upload_id is None:
        folder.mkdir(parents=True, exist_ok=True)
        with connection.transaction():
            upload_id = log_upload(connection, kind, name, facts, "failed", uploaded_by)
            report = inbox.reserve(folder, inbox.free_path(folder, name).name, ".errors.csv")
            write_report(report, error)
            log_rejection(connection, upload_id, facts, error, report.relative_to(settings.rejected_dir))
    inbox.move_into(path, folder)
    return Upload(upload_id, name, "rejected", message=str(error))


def _raise_if_changed(path: Path, before: os.stat_result) -> None:
    now = path.stat(follow_symlinks=False)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
        raise FileChangedError(f"{path} was written to while it was read.")
