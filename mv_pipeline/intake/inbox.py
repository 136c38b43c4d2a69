"""The folders: what is in the inbox, what has come to rest, and where files go afterwards.

Nothing here opens a file or a connection. A file is told by its folder: `inbox/<kind>/<name>.csv`.
"""

import bisect
import contextlib
import errno
import fnmatch
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.intake.rejection import printable
from mv_pipeline.settings import TIME_ZONE, OperatorError, Settings

_NAME_BYTES = 255
_PATTERNS = yaml.safe_load(Path(__file__).with_name("ignored.yaml").read_text(encoding="utf-8"))
_IGNORED = re.compile("|".join(map(fnmatch.translate, _PATTERNS)), re.IGNORECASE)


@dataclass(frozen=True)
class InboxFile:
    """One CSV file in the inbox.

    Args:
        kind: the name of its folder.
        path: where it lies.
        size: bytes.
        mtime_ns: last change, nanoseconds since the epoch.
    """

    kind: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """Its name as logs, runs and the database show it."""
        return printable_name(self.path.name)

    @property
    def key(self) -> str:
        """Its place in the inbox, `<kind>/<name>`."""
        return f"{self.kind}/{self.path.name}"

    @property
    def stamp(self) -> str:
        """What changes when the file does."""
        return f"{self.size}-{self.mtime_ns}"


@dataclass(frozen=True)
class InboxScan:
    """What one scan of the inbox found: CSV files, and the names that were left alone, each with a reason."""

    files: list[InboxFile]
    left_alone: dict[str, str]

    def at_rest(self, before: Mapping[str, str], settle_seconds: float, empty_seconds: float = 0) -> list[InboxFile]:
        """The files that haven't changed since the scan before, or for a while; the oldest first.

        Args:
            before: the stamps of the scan before.
            settle_seconds: a file that is older than this has come to rest.
            empty_seconds: an empty one has to be older than this.
        """
        now = time.time_ns()
        files = [file for file in self.files if file.size or abs(now - file.mtime_ns) >= empty_seconds * 1e9]
        newest = now - settle_seconds * 1e9
        return [file for file in files if before.get(file.key) == file.stamp or file.mtime_ns <= newest]

    def named(self, kind: str, names: Iterable[str]) -> list[InboxFile]:
        """The files of a kind that have these printable names, in the order of the names."""
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        found = [file for file in self.files if file.kind == kind and file.name in places]
        return sorted(found, key=lambda file: places[file.name])


class InboxError(OperatorError):
    """The inbox that the settings name isn't there."""


def prepare_folders(settings: Settings) -> None:
    """Make the inbox with a folder per kind, and the folders that files go to.

    Raises:
        InboxError: the settings name an inbox that isn't there. It is not made: on a share that isn't mounted it
            would be a local folder that nobody reads.
    """
    if settings.inbox and not settings.inbox.is_dir():
        raise InboxError(f"There is no folder {settings.inbox}. Mount or make it, or change MV_PIPELINE_INBOX.")
    kinds = (settings.inbox_dir / kind.name for kind in KINDS)
    for folder in (*kinds, settings.archive_dir, settings.rejected_dir):
        folder.mkdir(parents=True, exist_ok=True)


def printable_name(name: str) -> str:
    """A file's name as logs and messages show it, cut to what a file system takes."""
    stem, dot, suffix = printable(name).rpartition(".")
    return _cut(stem, dot + suffix)


def scan(inbox: Path) -> InboxScan:
    """List the inbox without opening anything; links, devices and folders are never followed.

    Raises:
        FileNotFoundError: there is no inbox.
    """
    kinds = {kind.name for kind in KINDS}
    files: list[InboxFile] = []
    left_alone: dict[str, str] = {}
    with os.scandir(inbox) as folders:
        for folder in sorted(folders, key=lambda entry: entry.name):
            if _IGNORED.match(folder.name):
                continue
            if folder.name in kinds and folder.is_dir(follow_symlinks=False):
                try:
                    _scan_folder(folder, files, left_alone)
                except OSError as error:
                    # One folder that can't be read must not keep the other kinds' files from being taken.
                    left_alone[folder.name] = f"the folder can't be read: {error.strerror}"
            else:
                left_alone[printable_name(folder.name)] = "no folder of a CSV kind"
    files.sort(key=lambda file: (file.mtime_ns, file.key))
    return InboxScan(files, left_alone)


def _scan_folder(folder: os.DirEntry[str], files: list[InboxFile], left_alone: dict[str, str]) -> None:
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if _IGNORED.match(name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # taken by another run since the folder was listed
            key = f"{folder.name}/{printable_name(name)}"
            if not stat.S_ISREG(status.st_mode):
                left_alone[key] = "no regular file"
            elif not name.lower().endswith(".csv"):
                left_alone[key] = "no .csv file"
            else:
                files.append(InboxFile(folder.name, Path(entry.path), status.st_size, status.st_mtime_ns))


def archive_folder(settings: Settings, kind: str) -> Path:
    """The folder for files loaded now: `archive/<kind>/<yyyy-mm>`, the month in Asia/Tokyo."""
    return settings.archive_dir / kind / f"{datetime.now(TIME_ZONE):%Y-%m}"


def move_into(path: Path, folder: Path) -> Path:
    """Move a file into a folder, under a printable name that is free there; nothing is ever overwritten.

    Whatever lies under its name is moved in one step, so what somebody puts there meanwhile is never removed unread.
    A crash leaves an empty file in the folder at most.

    Returns:
        The file's new path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = reserve(folder, printable_name(path.name))
    try:
        _rename(path, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return target


def _rename(path: Path, target: Path) -> None:
    """Rename a file over an empty one, or copy it to another file system; there, one that is written to stays."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        before, copy = path.stat(), hidden(target)
        try:
            shutil.copy2(path, copy, follow_symlinks=False)
            if has_changed(path, before):
                raise OSError(errno.EBUSY, "It was written to while it was moved", str(path)) from None
            copy.replace(target)
            path.unlink()
        finally:
            copy.unlink(missing_ok=True)


def has_changed(path: Path, before: os.stat_result) -> bool:
    """True if another file lies there now, or it was written to."""
    now = path.stat(follow_symlinks=False)
    return (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns)


def hidden(path: Path) -> Path:
    """The path next to another under which a process writes what it then renames; no scan of the inbox counts it."""
    return path.with_name(_cut(f".{path.name}", f".{os.getpid()}.part"))


def reserve(folder: Path, name: str, ending: str = "") -> Path:
    """Make an empty file under a name that is free in an existing folder, as `free_path` finds it."""
    while True:
        path = free_path(folder, name, ending)
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path


def free_path(folder: Path, name: str, ending: str = "") -> Path:
    """A path in a folder that nothing has now: of the given name, or with a number, cut to length.

    However many files share the name, few steps find it: the number is doubled until it is free, then bisected.

    Args:
        folder: of the path.
        ending: is put behind the name and never cut; without one, the name's own suffix isn't.
    """
    stem, dot, suffix = (name, "", ending) if ending else name.rpartition(".")

    def numbered(number: int) -> Path:
        return folder / _cut(stem, f"{f'-{number}' if number > 1 else ''}{dot}{suffix}")

    def is_free(number: int) -> bool:
        return not os.path.lexists(numbered(number))

    end = 1
    while not is_free(end):
        end *= 2
    return numbered(1 + bisect.bisect_left(range(1, end), True, key=is_free))


def _cut(stem: str, end: str) -> str:
    """A name of stem and end, the stem cut to the bytes that a file system takes."""
    return stem.encode()[: _NAME_BYTES - len(end.encode())].decode(errors="ignore") + end
