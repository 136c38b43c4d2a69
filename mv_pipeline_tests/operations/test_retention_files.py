"""Old files go, young ones stay, and nothing outside of the folder is touched."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from mv_pipeline.operations.retention import Deleted, Limits, delete_files


@pytest.fixture
def archive(tmp_path):
    for month in ("2025-11", "2025-12"):
        folder = tmp_path / "archive" / "shogun_flash_receive" / month
        folder.mkdir(parents=True)
        for name in ("a.csv", "b.csv"):
            (folder / name).write_text("x")
    return tmp_path / "archive"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def later():
    return datetime.now(UTC) + timedelta(seconds=1)


def test_what_came_before_the_time_goes_and_the_emptied_months_too(archive):
    assert delete_files(archive, later(), Limits()) == Deleted(4)
    assert list((archive / "shogun_flash_receive").iterdir()) == []


def test_what_came_later_stays_however_old_its_content_is(archive):
    for path in archive.rglob("*.csv"):
        os.utime(path, (0, 0))

    assert delete_files(archive, later() - timedelta(hours=1), Limits()) == Deleted(0)
    assert len(files(archive)) == 4


def test_a_month_goes_only_when_it_is_empty(archive):
    moment = archive / "shogun_flash_receive" / "2025-12" / "a.csv"
    before = datetime.fromtimestamp(max(path.stat().st_ctime for path in archive.rglob("*.csv")) + 0.01, UTC)
    # The clock of a file system is coarser than time.time().
    while moment.stat().st_ctime < before.timestamp():
        moment.touch()

    assert delete_files(archive, before, Limits()) == Deleted(3)
    assert files(archive) == ["shogun_flash_receive/2025-12/a.csv"]


def test_the_folders_of_kinds_stay(tmp_path):
    kind = tmp_path / "rejected" / "shogun_flash_receive"
    kind.mkdir(parents=True)
    for name in ("a.csv", "a.csv.errors.csv"):
        (kind / name).touch()

    assert delete_files(tmp_path / "rejected", later(), Limits()) == Deleted(2)
    assert kind.is_dir()


def test_links_are_neither_followed_nor_deleted(archive, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.csv").touch()
    (archive / "link").symlink_to(outside)
    (archive / "shogun_flash_receive" / "link.csv").symlink_to(outside / "kept.csv")

    delete_files(archive, later(), Limits())

    assert files(outside) == ["kept.csv"]
    assert (archive / "shogun_flash_receive" / "link.csv").is_symlink()


def test_one_run_deletes_so_many_and_the_next_continues(archive):
    assert delete_files(archive, later(), Limits(files=3)) == Deleted(3, more=True)
    assert delete_files(archive, later(), Limits(files=3)) == Deleted(1)


def test_when_the_time_is_up_nothing_more_is_deleted(archive):
    assert delete_files(archive, later(), Limits(seconds=0)) == Deleted(0, more=True)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert delete_files(tmp_path / "nowhere", later(), Limits()) == Deleted(0)
