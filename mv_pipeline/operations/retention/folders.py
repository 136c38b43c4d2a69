"""Old files of the archive and of the rejected ones. Nothing is known of what is in them."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mv_pipeline.operations.retention.limits import Deleted, Limits


def delete_files(folder: Path, before: float, limits: Limits) -> Deleted:
    """Delete the regular files that came into a folder before a time, and the folders of months that this empties.

    When a file came is when its inode last changed (ctime): moving it here does that. The time that its content was
    written says nothing, since an old export may be dropped today.

    Args:
        folder: the archive, or the folder of rejected files; links in it are never followed.
        before: seconds since the epoch.
        limits: of this night.
    """
    count = 0
    for path in _old_files(folder, before):
        if count >= limits.files or not limits.left_s:
            return Deleted(count, more=True)
        path.unlink(missing_ok=True)
        count += 1
    return Deleted(count)


def _old_files(folder: Path, before: float) -> Iterator[Path]:
    """Old files, folder by folder; the folder of a month that is empty in the end goes."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_ctime < before:
                yield path
        is_month = len(Path(parent).relative_to(folder).parts) > 1
        if is_month and names:
            # It isn't empty, or a file is just coming into it.
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
