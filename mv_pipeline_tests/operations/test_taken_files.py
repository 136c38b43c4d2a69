"""Whoever writes on in a file that was taken: what he wrote is found, and comes in instead of what was there before."""

import os
from pathlib import Path

import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.intake.inbox import scan
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.operations.taken_files import put_back_changed_files
from mv_pipeline_tests.factory import csv_text, line, take

KIND = "shogun_final_receive"


def lines(*numbers, day="2025/12/01", **cells):
    return [line(KIND, slip_date=day, receive_no=number, **cells) for number in numbers]


def text(wanted):
    return csv_text(wanted).encode("cp932")


@pytest.fixture
def compare(connection, settings):
    """Compare, then take what lies in the inbox, as the sensors do; what became of each."""

    def run(**update):
        put_back_changed_files(connection, settings.model_copy(update=update))
        found = scan(settings.inbox_dir).files
        return [take_file(connection, settings, find_kind(file.kind), file.path, "inbox") for file in found]

    return run


def files(folder: Path):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def lying(settings, folder, name="a.csv") -> Path:
    (path,) = (settings.home / folder).rglob(name)
    return path


def active(connection):
    query = f"SELECT slip_date::text, receive_no FROM stg.{KIND} WHERE NOT is_deleted ORDER BY 1, 2"
    return connection.execute(query).fetchall()


def test_files_that_nobody_touches_stay_where_they_are(connection, settings, compare):
    take(connection, settings, lines(1))
    take(connection, settings, lines(2, net_weight="x"), name="b.csv")

    assert compare() == compare() == []
    assert files(settings.archive_dir) == ["a.csv"]
    assert files(settings.rejected_dir) == ["b.csv", "b.csv.errors.csv"]
    assert connection.execute("SELECT count(*) FROM log.taken_file WHERE compared_at IS NULL").fetchone() == (0,)


def test_lines_that_are_written_after_the_file_was_taken_are_loaded(connection, settings, compare):
    """By somebody whose handle nobody saw: header and 100 lines were there, 100 more come."""
    whole = text(lines(*range(200)))
    first = text(lines(*range(100)))
    assert whole.startswith(first)
    upload = take(connection, settings, first)
    with lying(settings, "archive").open("ab") as late:
        late.write(whole[len(first) :])

    (again,) = compare()

    assert (again.status, again.rows) == ("loaded", 200)
    assert active(connection) == [("2025-12-01", number) for number in range(200)]
    assert lying(settings, "archive").read_bytes() == whole
    query = "SELECT file_name, metadata->'replaces' FROM log.upload_file ORDER BY id"
    assert connection.execute(query).fetchall() == [("a.csv", None), ("a.csv", upload.id)]
    assert compare() == []


@pytest.mark.parametrize("change", ["overwrite", "rename over", "remove lines"])
def test_whatever_way_it_changes_its_lines_are_those_that_it_has_now(connection, settings, compare, change):
    take(connection, settings, [*lines(1, 2), *lines(3, day="2025/12/02")])
    path, now = lying(settings, "archive"), text(lines(1, 2, 4) if change == "overwrite" else lines(1))
    if change == "rename over":
        path.with_name("other").write_bytes(now)
        path.with_name("other").replace(path)
    else:
        path.write_bytes(now)

    (again,) = compare()

    assert again.status == "loaded"
    # And the day that it doesn't hold any more has none.
    assert active(connection) == [("2025-12-01", number) for number in ((1, 2, 4) if change == "overwrite" else (1,))]


def test_what_has_come_since_is_never_replaced_by_late_lines(connection, settings, compare):
    take(connection, settings, lines(1))
    take(connection, settings, lines(7), name="newer.csv")
    lying(settings, "archive").write_bytes(text(lines(1, 2)))

    (again,) = compare()

    assert (again.status, again.message.endswith("[newer_upload]")) == ("rejected", True)
    assert active(connection) == [("2025-12-01", 7)]
    assert files(settings.rejected_dir) == ["a.csv", "a.csv.errors.csv"]


def test_a_newer_file_of_other_days_is_no_reason_against_it(connection, settings, compare):
    take(connection, settings, lines(1))
    take(connection, settings, lines(7, day="2025/12/02"), name="newer.csv")
    lying(settings, "archive").write_bytes(text(lines(1, 2)))

    (again,) = compare()

    assert again.status == "loaded"
    assert active(connection) == [("2025-12-01", 1), ("2025-12-01", 2), ("2025-12-02", 7)]


def test_a_file_that_turns_bad_leaves_the_lines_that_it_had(connection, settings, compare):
    take(connection, settings, lines(1))
    with lying(settings, "archive").open("ab") as late:
        late.write(b"2025/12/01,half a li")

    (again,) = compare()

    assert again.status == "rejected"
    assert active(connection) == [("2025-12-01", 1)]
    assert (files(settings.archive_dir), files(settings.rejected_dir)) == ([], ["a.csv", "a.csv.errors.csv"])


def test_a_rejected_file_that_has_changed_is_tried_again_and_its_report_goes(connection, settings, compare):
    take(connection, settings, lines(1, net_weight="x"))
    lying(settings, "rejected").write_bytes(text(lines(1, net_weight="y")))

    (second,) = compare()

    assert second.status == "rejected"
    assert files(settings.rejected_dir) == ["a.csv", "a.csv.errors.csv"]
    assert "「y」" in second.message
    lying(settings, "rejected").write_bytes(text(lines(1)))

    (third,) = compare()

    assert third.status == "loaded"
    assert (files(settings.rejected_dir), files(settings.archive_dir)) == ([], ["a.csv"])


def test_a_file_is_known_by_its_name_although_another_one_has_it_now(connection, settings, compare):
    """Of two rejected files of one name the second is numbered; corrected, it is the first one's name that is good."""
    for value in ("x", "y"):
        take(connection, settings, lines(1, net_weight=value))
    lying(settings, "rejected", "a-2.csv").write_bytes(text(lines(1)))
    (settings.inbox_dir / KIND / "a-2.csv").write_bytes(text(lines(5, day="2025/12/02")))

    loaded = compare()

    assert {(upload.status, upload.file_name) for upload in loaded} == {("loaded", "a-2.csv"), ("loaded", "a.csv")}
    assert files(settings.rejected_dir) == ["a.csv", "a.csv.errors.csv"]


def test_a_file_that_is_still_being_written_waits(connection, settings, compare):
    take(connection, settings, lines(1))
    path = lying(settings, "archive")
    path.write_bytes(text(lines(1, 2)))

    assert compare(settle_seconds=3600) == []
    if os.uname().sysname == "Linux":
        with path.open("ab"):
            assert compare() == []
    assert [upload.status for upload in compare()] == ["loaded"]


def test_a_file_that_is_only_touched_is_as_it_was(connection, settings, compare):
    take(connection, settings, lines(1))
    compare()
    os.utime(lying(settings, "archive"), (1, 1))

    assert compare() == []


def test_what_looks_unchanged_is_read_each_night(connection, settings, compare):
    take(connection, settings, lines(1))
    path = lying(settings, "archive")
    compare()
    status = path.stat()
    path.write_bytes(text(lines(2)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert compare() == []
    connection.execute("UPDATE log.taken_file SET compared_at = compared_at - interval '1 day'")
    connection.execute("UPDATE log.upload_file SET uploaded_at = uploaded_at - interval '1 year'")
    assert [upload.status for upload in compare()] == ["loaded"]
    assert active(connection) == [("2025-12-01", 2)]


def test_what_is_deleted_is_forgotten(connection, settings, compare):
    """In the archive as in the inbox: what is dropped again after that is another file, whatever its name."""
    take(connection, settings, lines(1), name="old.csv")
    lying(settings, "archive", "old.csv").unlink()
    obstacle = settings.archive_dir / KIND
    (obstacle / lying(settings, "archive", "*-*").name).rmdir()
    obstacle.rmdir()
    obstacle.touch()
    with pytest.raises(NotADirectoryError):
        take(connection, settings, lines(1))
    obstacle.unlink()
    take(connection, settings, lines(2), name="newer.csv")
    (settings.inbox_dir / KIND / "a.csv").unlink()
    connection.execute("UPDATE log.upload_file SET uploaded_at = uploaded_at - interval '2 minutes'")

    assert compare() == []

    assert connection.execute("SELECT inbox_name FROM log.taken_file").fetchall() == [(b"newer.csv",)]
    assert take(connection, settings, lines(1)).status == "loaded"
    assert active(connection) == [("2025-12-01", 1)]
