"""Whether files that were taken are still what the log says; one that somebody has written on goes back into the inbox.

Where the system can't say whether a file is being written, as on a share, and in the moment between reading and moving,
this is what finds late lines. The file is then taken like any other, as the successor of its own upload.
"""

import logging
import os
import time
from typing import Any

from psycopg.rows import namedtuple_row

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, read_query
from mv_pipeline.intake.inbox import move_into
from mv_pipeline.intake.load import inspect_file
from mv_pipeline.intake.reader import FileUnavailableError, open_file, raise_if_open_for_writing
from mv_pipeline.settings import Settings

# Each time files are read for so long (s) at most; the next time goes on with those that wait for longest.
_READING_S = 2.0
_LOG = logging.getLogger(__name__)


def put_back_changed_files(connection: Connection, settings: Settings) -> None:
    """Compare size and hash of files with the log, and put those back into the inbox that differ and are at rest.

    Each is read soon after it was taken, again when its size or time changes within a day, and each night.

    Args:
        connection: in autocommit mode.
    """
    deadline = time.monotonic() + _READING_S
    cursor = connection.cursor(row_factory=namedtuple_row).execute(read_query(__file__, "files_to_compare"))
    for file in list[Any](cursor):
        try:
            if time.monotonic() < deadline:
                _compare(connection, settings, file)
        except (FileUnavailableError, OSError) as error:
            _LOG.warning("%s can't be compared with the log now: %s", file.path, error)


def _compare(connection: Connection, settings: Settings, file: Any) -> None:
    folder = settings.inbox_dir / file.kind
    path = settings.home / file.path if file.path else folder / os.fsdecode(file.inbox_name)
    # Retention or somebody has deleted it, or has taken it out of the inbox; on a share that is unreachable, who knows.
    if not path.exists() and folder.is_dir() and not file.is_new:
        connection.execute("DELETE FROM log.taken_file WHERE upload_file_id = %s", [file.upload_file_id])
    if file.path is None or not path.exists():
        return
    status = path.lstat()
    stamp = f"{status.st_size}-{status.st_mtime_ns}"
    if file.is_done and stamp == file.stamp:
        return
    with open_file(path) as opened:
        raise_if_open_for_writing(opened)
        now = inspect_file(opened, find_kind(file.kind), path, "", settings.max_file_mb * 1_000_000)
    if (now.size, now.sha256) == (file.file_size_bytes, file.file_hash):
        query = "UPDATE log.taken_file SET stamp = %s, compared_at = now() WHERE upload_file_id = %s"
        connection.execute(query, [stamp, file.upload_file_id])
    elif abs(time.time() - status.st_mtime) >= settings.settle_seconds:
        name = os.fsencode(move_into(path, folder).name)
        query = "UPDATE log.taken_file SET path = NULL, has_changed = true, inbox_name = %s WHERE upload_file_id = %s"
        connection.execute(query, [name, file.upload_file_id])
        if file.report:
            (settings.rejected_dir / file.report).unlink(missing_ok=True)
