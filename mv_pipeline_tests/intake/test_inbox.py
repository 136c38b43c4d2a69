"""The folders: what counts as a file of the inbox, when it rests, and that nothing is overwritten on the way out."""

import errno
import os
import shutil
import sys
import time
from collections import Counter
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from mv_pipeline.intake import inbox
from mv_pipeline.intake.inbox import (
    InboxFile,
    InboxScan,
    hidden,
    move_into,
    prepare_folders,
    printable_name,
    reserve,
    scan,
)
from mv_pipeline.settings import Settings

KIND = "shogun_final_receive"
KINDS = {
    "shogun_flash_receive",
    "shogun_final_receive",
    "shogun_flash_shipment",
    "shogun_final_shipment",
    "shogun_flash_yard",
    "shogun_final_yard",
}
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home with its folders, without a database."""
    settings = Settings(home=tmp_path, inbox=None, database_url=None)
    prepare_folders(settings)
    return settings


@pytest.fixture
def folder(home: Settings) -> Path:
    return home.inbox_dir / KIND


def names(found: InboxScan) -> list[str]:
    return [file.path.name for file in found.files]


def stamps(found: InboxScan) -> dict[str, str]:
    return {file.key: file.stamp for file in found.files}


def test_the_inbox_has_a_folder_for_each_kind(home: Settings):
    prepare_folders(home)

    assert {path.name for path in home.inbox_dir.iterdir()} == KINDS
    assert home.archive_dir.is_dir()
    assert home.rejected_dir.is_dir()


def test_a_file_is_told_by_its_folder(home: Settings, folder: Path):
    (folder / "a.csv").write_bytes(b"12345")

    (file,) = scan(home.inbox_dir).files

    assert (file.kind, file.path, file.size) == (KIND, folder / "a.csv", 5)
    assert (file.key, file.mtime_ns) == ("shogun_final_receive/a.csv", (folder / "a.csv").stat().st_mtime_ns)


def test_an_inbox_that_is_gone_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "gone")


@pytest.mark.parametrize(
    "name",
    ["a.csv", "A.CSV", "受入一覧.csv", "受入一覧　2025年12月.csv", "受入 (1).csv", "㈱①髙.csv", "=1+1;'--.csv"],
)
def test_a_csv_file_may_have_any_printable_name(home: Settings, folder: Path, name: str):
    (folder / name).touch()

    found = scan(home.inbox_dir)

    assert (names(found), found.left_alone) == ([name], {})


@pytest.mark.parametrize(
    "name", [".a.csv", ".DS_Store", "a.csv.part", "a.csv.tmp", "a.csv.PART", "a.csv.crdownload", "a.csv.filepart"]
)
def test_hidden_and_unfinished_files_are_never_counted(home: Settings, folder: Path, name: str):
    (folder / name).touch()

    assert scan(home.inbox_dir) == InboxScan([], {})


OF_OTHER_PROGRAMS = [
    *("Thumbs.db", "THUMBS.DB", "ehthumbs_vista.db", "desktop.ini", "Desktop.ini", "~$x.csv", "~$受入.xlsx", "a.lnk"),
    *("._x.csv", ".~lock.x.csv#", ".nfs0001", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "@eaDir"),
    *("@Recycle", "@tmp", "#recycle", "#snapshot", "lost+found", "__MACOSX", "Icon\r", "a.csv~", ".a.csv.swp", "a.url"),
    *("a.csv.partial", "a.csv.download", "a@SynoEAStream"),
]


@pytest.mark.parametrize("name", OF_OTHER_PROGRAMS)
def test_what_other_programs_put_there_is_ignored_in_silence(home: Settings, folder: Path, name: str):
    """As a file and as a folder with something in it, in the inbox and in the folder of a kind."""
    (home.inbox_dir / name).touch()
    (folder / name).mkdir()
    (folder / name / "a.csv").touch()

    assert scan(home.inbox_dir) == InboxScan([], {})


@pytest.mark.parametrize(
    "name", ["@受入.csv", "#1.csv", "~受入.csv", "$受入.csv", "x~.csv", "Icon1.csv", "Thumbs.db.csv"]
)
def test_a_csv_file_that_only_looks_like_them_is_taken(home: Settings, folder: Path, name: str):
    (folder / name).touch()

    assert names(scan(home.inbox_dir)) == [name]


@pytest.mark.parametrize("name", ["a.xlsx", "a.txt", "csv", "a.csv.bak", "Thumbs.db.xls", "icon"])
def test_another_suffix_is_left_alone_with_a_reason(home: Settings, folder: Path, name: str):
    (folder / name).touch()

    assert scan(home.inbox_dir) == InboxScan([], {f"{KIND}/{name}": "no .csv file"})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(
            b"\xff.csv", "�.csv", marks=pytest.mark.skipif(sys.platform == "darwin", reason="its names are UTF-8")
        ),
        (b"a\n.csv", "a�.csv"),
        (b"a\x1b[31m.csv", "a�[31m.csv"),
        ("a\u202eb.csv".encode(), "a�b.csv"),
    ],
)
def test_a_name_that_no_log_can_show_is_shown_and_moved_under_a_printable_one(
    home: Settings, folder: Path, tmp_path: Path, name: bytes, shown: str
):
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()

    (file,) = scan(home.inbox_dir).files

    assert file.name == shown
    assert move_into(file.path, tmp_path / "to").name == shown
    assert scan(home.inbox_dir).files == []


def test_a_printable_name_is_never_longer_than_a_file_system_takes():
    assert printable_name("\udcff" * 250 + ".csv") == "�" * 83 + ".csv"


def test_what_is_left_alone_has_a_printable_name(home: Settings, folder: Path):
    (folder / "a\n.txt").touch()

    assert scan(home.inbox_dir).left_alone == {f"{KIND}/a�.txt": "no .csv file"}


def test_a_folder_of_no_kind_is_left_alone_with_a_reason(home: Settings, tmp_path: Path):
    for name in ("receive", ".hidden"):
        (home.inbox_dir / name).mkdir()
        (home.inbox_dir / name / "a.csv").touch()
    (home.inbox_dir / "a.csv").touch()

    reason = "no folder of a CSV kind"
    assert scan(home.inbox_dir) == InboxScan([], {"a.csv": reason, "receive": reason})


def test_a_link_in_place_of_a_kinds_folder_is_not_followed(home: Settings, folder: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").touch()
    folder.rmdir()
    folder.symlink_to(tmp_path / "elsewhere")

    assert scan(home.inbox_dir) == InboxScan([], {KIND: "no folder of a CSV kind"})


def test_links_folders_and_pipes_are_left_alone_and_nothing_is_opened(
    home: Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "real.csv").touch()
    (folder / "link.csv").symlink_to(tmp_path / "real.csv")
    (folder / "dangling.csv").symlink_to(tmp_path / "nowhere")
    (folder / "folder.csv").mkdir()
    (folder / "folder.csv" / "inside.csv").touch()
    os.mkfifo(folder / "pipe.csv")
    (folder / "a.csv").touch()

    def fail(*args: object, **kwargs: object):
        raise AssertionError("something was opened")

    with monkeypatch.context() as patch:
        for owner, name in ((os, "open"), (Path, "open"), (Path, "read_bytes")):
            patch.setattr(owner, name, fail)
        patch.setattr("builtins.open", fail)
        found = scan(home.inbox_dir)

    assert names(found) == ["a.csv"]
    assert found.left_alone == {
        f"{KIND}/{name}.csv": "no regular file" for name in ("link", "dangling", "folder", "pipe")
    }


def test_the_oldest_file_comes_first(home: Settings, folder: Path):
    for age, name in enumerate(("new.csv", "middle.csv", "old.csv")):
        (folder / name).touch()
        os.utime(folder / name, ns=(0, 1_000_000 - age))

    assert names(scan(home.inbox_dir)) == ["old.csv", "middle.csv", "new.csv"]


def test_a_file_seen_the_same_twice_has_come_to_rest(home: Settings, folder: Path):
    (folder / "a.csv").touch()
    before = stamps(scan(home.inbox_dir))

    found = scan(home.inbox_dir)

    assert found.at_rest(before, settle_seconds=3600) == found.files


def test_a_file_seen_for_the_first_time_has_not_come_to_rest(home: Settings, folder: Path):
    (folder / "a.csv").touch()

    assert scan(home.inbox_dir).at_rest({}, settle_seconds=3600) == []


def test_a_file_that_grew_has_not_come_to_rest(home: Settings, folder: Path):
    (folder / "a.csv").write_bytes(b"1")
    status = (folder / "a.csv").stat()
    before = stamps(scan(home.inbox_dir))
    (folder / "a.csv").write_bytes(b"12")
    os.utime(folder / "a.csv", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert scan(home.inbox_dir).at_rest(before, settle_seconds=3600) == []


def test_a_file_written_anew_with_the_same_size_has_not_come_to_rest(home: Settings, folder: Path):
    (folder / "a.csv").write_bytes(b"1")
    status = (folder / "a.csv").stat()
    before = stamps(scan(home.inbox_dir))
    os.utime(folder / "a.csv", ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    assert scan(home.inbox_dir).at_rest(before, settle_seconds=3600) == []


def test_the_same_name_in_another_folder_is_another_file(home: Settings, folder: Path):
    (folder / "a.csv").touch()
    before = stamps(scan(home.inbox_dir))
    (folder / "a.csv").rename(home.inbox_dir / "shogun_flash_receive" / "a.csv")

    assert scan(home.inbox_dir).at_rest(before, settle_seconds=3600) == []


@pytest.mark.parametrize(("age_s", "rests"), [(3660, True), (3540, False), (-60, False)])
def test_an_old_file_has_come_to_rest_at_the_first_scan(home: Settings, folder: Path, age_s: int, rests: bool):
    (folder / "a.csv").touch()
    changed = time.time_ns() - age_s * 1_000_000_000
    os.utime(folder / "a.csv", ns=(changed, changed))

    assert bool(scan(home.inbox_dir).at_rest({}, settle_seconds=3600)) is rests


@pytest.mark.parametrize(("age_s", "rests"), [(3660, True), (3540, False), (-3540, False), (-3660, True)])
def test_an_empty_file_rests_later(home: Settings, folder: Path, age_s: int, rests: bool):
    """One whose time lies in the future has no more time than another."""
    (folder / "a.csv").touch()
    changed = time.time_ns() - age_s * 1_000_000_000
    os.utime(folder / "a.csv", ns=(changed, changed))
    found = scan(home.inbox_dir)

    assert bool(found.at_rest(stamps(found), settle_seconds=0, empty_seconds=3600)) is rests


def test_a_stamp_tells_size_and_change(tmp_path: Path):
    assert InboxFile(KIND, tmp_path / "a.csv", 5, 7).stamp == "5-7"


def test_the_archive_folder_is_the_month_in_tokyo(home: Settings, monkeypatch: pytest.MonkeyPatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2025, 11, 30, 15, 30, tzinfo=UTC).astimezone(tz)

    monkeypatch.setattr(inbox, "datetime", Clock)

    assert inbox.archive_folder(home, KIND) == home.home / "archive" / KIND / "2025-12"


def test_a_moved_file_takes_a_free_name_and_overwrites_nothing(tmp_path: Path):
    for content in ("1", "2", "3"):
        (tmp_path / "受入.csv").write_text(content)
        move_into(tmp_path / "受入.csv", tmp_path / "to" / "folder")

    moved = {path.name: path.read_text() for path in (tmp_path / "to" / "folder").iterdir()}
    assert moved == {"受入.csv": "1", "受入-2.csv": "2", "受入-3.csv": "3"}


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "受" * 83 + "12.csv", "受" * 83 + "1.csv"])
def test_a_name_with_a_number_is_cut_to_what_a_file_system_takes(tmp_path: Path, name: str):
    first, second = reserve(tmp_path, name), reserve(tmp_path, name)

    assert first.name == name
    assert second.name.endswith("-2.csv")
    assert name.startswith(second.name.removesuffix("-2.csv"))
    assert 250 < len(os.fsencode(second.name)) <= 255


@pytest.mark.parametrize("name", ["a.csv", "a" * 251 + ".csv", "🚛" * 62 + ".csv"])
def test_the_path_made_of_a_files_name_fits_any_file_system_and_is_never_counted(
    home: Settings, folder: Path, name: str
):
    path = hidden(folder / name)
    path.touch()

    assert (path.parent, scan(home.inbox_dir)) == (folder, InboxScan([], {}))


@pytest.mark.parametrize("name", ["a.csv", "a" * 251 + ".csv", "受" * 83 + "1.csv"])
def test_an_ending_is_never_cut(tmp_path: Path, name: str):
    first, second = reserve(tmp_path, name, ".errors.csv"), reserve(tmp_path, name, ".errors.csv")

    assert first.name == os.fsencode(name)[:244].decode(errors="ignore") + ".errors.csv"
    assert second.name == os.fsencode(name)[:242].decode(errors="ignore") + "-2.errors.csv"


def test_a_file_is_moved_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"1")
    os.utime(path, ns=(HOUR_NS, HOUR_NS))
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)

    target = move_into(path, tmp_path / "to")

    assert [entry.name for entry in (tmp_path / "to").iterdir()] == ["a.csv"]
    assert (target.read_bytes(), target.stat().st_mtime_ns, path.exists()) == (b"1", HOUR_NS, False)


def test_a_folder_that_cannot_be_read_keeps_no_other_from_being_scanned(tmp_path, monkeypatch):
    inbox = tmp_path / "inbox"
    for kind in ("shogun_final_receive", "shogun_final_yard"):
        (inbox / kind).mkdir(parents=True)
        (inbox / kind / "a.csv").touch()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("receive"):
            # Root may read everything, so the refusal is made up.
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    found = scan(inbox)

    assert [file.key for file in found.files] == ["shogun_final_yard/a.csv"]
    assert found.left_alone == {"shogun_final_receive": "the folder can't be read: Permission denied"}


def test_files_are_chosen_by_name_in_the_order_of_the_names(home: Settings, folder: Path):
    for kind, name in ((KIND, "a.csv"), (KIND, "b\n.csv"), (KIND, "b\x01.csv"), ("shogun_flash_yard", "c.csv")):
        (home.inbox_dir / kind / name).touch()

    chosen = scan(home.inbox_dir).named(KIND, ["b�.csv", "c.csv", "a.csv", "b�.csv", "../a.csv"])

    assert sorted(names(InboxScan(chosen[:2], {}))) == ["b\x01.csv", "b\n.csv"]
    assert names(InboxScan(chosen[2:], {})) == ["a.csv"]


def test_each_name_is_made_printable_a_few_times_however_many_files_are_chosen(home, folder, monkeypatch):
    calls = Counter()
    wanted = [f"{number}.csv" for number in range(300)]
    for name in wanted:
        (folder / name).touch()

    def counted(name: str) -> str:
        calls[name] += 1
        return printable_name(name)

    monkeypatch.setattr(inbox, "printable_name", counted)
    chosen = scan(home.inbox_dir).named(KIND, wanted)

    assert names(InboxScan(chosen, {})) == wanted
    assert calls.total() <= 3 * len(wanted)


def test_a_free_name_is_found_in_a_few_steps_however_many_files_share_it(tmp_path, monkeypatch):
    calls = Counter()
    lexists = os.path.lexists

    def counted(path: Path) -> bool:
        calls[path] += 1
        return lexists(path)

    monkeypatch.setattr(os.path, "lexists", counted)
    found = [reserve(tmp_path, "a.csv").name for _ in range(500)]

    assert found == ["a.csv", *(f"a-{number}.csv" for number in range(2, 501))]
    assert calls.total() < 20 * len(found)


def test_a_file_that_is_written_to_while_it_is_copied_to_another_file_system_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("1")
    replace, copy2 = Path.replace, shutil.copy2

    def across(self: Path, target: Path) -> Path:
        if self == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    def copy_and_append(*args: object, **kwargs: object) -> object:
        try:
            return copy2(*args, **kwargs)
        finally:
            path.write_text("12")

    monkeypatch.setattr(Path, "replace", across)
    monkeypatch.setattr(shutil, "copy2", copy_and_append)

    with pytest.raises(OSError, match="written to while it was moved"):
        move_into(path, tmp_path / "to")

    assert path.read_text() == "12"
    assert list((tmp_path / "to").iterdir()) == []


def test_a_file_that_cannot_be_moved_leaves_nothing_behind(tmp_path):
    with pytest.raises(FileNotFoundError):
        move_into(tmp_path / "a.csv", tmp_path / "to")

    assert list((tmp_path / "to").iterdir()) == []
