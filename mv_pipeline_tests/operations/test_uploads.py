"""Listing, restoring and confirming uploads: what counts afterwards, and what says so by the last upload."""

from datetime import date

import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.checks.rules import find_check, quick_checks
from mv_pipeline.intake.backfill import derive_days
from mv_pipeline.operations.uploads import UploadError, confirm_upload, read_uploads, restore_upload
from mv_pipeline_tests.factory import line, take

YARD, FINAL, FLASH = "shogun_final_yard", "shogun_final_receive", "shogun_flash_receive"
FIRST, LAST = date(2025, 12, 1), date(2025, 12, 31)


def drop_days(connection, settings, name="a.csv", kg=100, **days):
    """Take a yard file with so many lines for each day: `d1=130` are 130 for the first of December."""
    lines = [
        line(YARD, slip_date=f"2025/12/{int(day[1:]):02}", slip_no=1000 * int(day[1:]) + number, net_weight=kg)
        for day, count in days.items()
        for number in range(count)
    ]
    return take(connection, settings, lines, YARD, name)


def counted(connection):
    """Lines and kg that count, by day of December."""
    rows = connection.execute(
        f"SELECT extract(day FROM slip_date)::int, count(*), sum(net_weight) FROM stg.v_active_{YARD} GROUP BY 1"
    )
    return {day: (lines, kg) for day, lines, kg in rows.fetchall()}


def shrunk_days(connection, catalog):
    check = find_check(catalog, f"stg.{YARD}", "no_day_shrunk")
    return check.evaluate(connection)


@pytest.mark.parametrize(
    ("before", "after", "shrunk"),
    [
        ([100] * 10, [100] * 4, True),
        ([100] * 10, [100] * 5, False),
        ([100] * 10, [1000] * 4, True),
        ([100] * 10, [49] * 10, True),
        ([100] * 10, [50] * 10, False),
        ([100] * 10, [1] * 1000, False),
        ([-100] * 10, [-100] * 10, False),
        ([0] * 3, [0] * 3, False),
        (["", ""], ["", ""], False),
    ],
)
def test_a_day_has_shrunk_with_less_than_half_of_its_lines_or_kg(settings, connection, catalog, before, after, shrunk):
    for weights in (before, after):
        take(connection, settings, [line(YARD, net_weight=weight) for weight in weights], YARD)

    assert shrunk_days(connection, catalog).passed is not shrunk


def test_the_check_names_day_before_after_and_both_uploads_until_the_day_is_replaced(settings, connection, catalog):
    first = drop_days(connection, settings, d1=13, d2=2)
    second = drop_days(connection, settings, d1=1, d3=1)
    found = shrunk_days(connection, catalog)

    assert found.message == (
        "1 days found that an upload has left with far less than they had, 0 expected; "
        f"2025-12-01: 13 lines 1300 kg → 1 lines 100 kg, upload {second.id} after {first.id}."
    )
    assert f"inbox/{YARD}/" in found.remedy
    drop_days(connection, settings, d1=1, kg=99)
    assert shrunk_days(connection, catalog).passed


@pytest.mark.parametrize(("share", "shrunk"), [("0", False), ("0.1", False), ("0.31", True), ("1", True)])
def test_how_far_a_day_may_shrink_is_a_setting(settings, connection, catalog, monkeypatch, share, shrunk):
    monkeypatch.setenv("MV_PIPELINE_SHRUNK_SHARE", share)
    drop_days(connection, settings, d1=10)
    drop_days(connection, settings, d1=3)

    assert shrunk_days(connection, catalog).passed is not shrunk


def test_a_shrunk_day_that_is_confirmed_is_right(settings, connection, catalog):
    drop_days(connection, settings, d1=10, d2=10, d3=1)
    second = drop_days(connection, settings, d1=1, d2=1, d3=1)

    assert confirm_upload(connection, second.id) == ["2025-12-01", "2025-12-02"]

    assert shrunk_days(connection, catalog).passed
    assert counted(connection) == {1: (1, 100), 2: (1, 100), 3: (1, 100)}
    third = drop_days(connection, settings, d1=10)
    drop_days(connection, settings, d1=1, kg=5)
    assert not shrunk_days(connection, catalog).passed
    with pytest.raises(UploadError, match=f"Upload {third.id} has left no day with far less than it had"):
        confirm_upload(connection, third.id)


def test_lines_that_were_written_by_hand_are_missed_too(settings, connection, catalog):
    connection.execute(
        f"INSERT INTO stg.{YARD} (slip_date, net_weight) SELECT '2025-12-01', 5 FROM generate_series(1, 9)"
    )

    drop_days(connection, settings, d1=1)

    assert "9 lines 45 kg → 1 lines 100 kg" in shrunk_days(connection, catalog).message
    assert "after lines of no upload" in shrunk_days(connection, catalog).message


def test_an_earlier_upload_counts_again_on_the_days_that_are_named(settings, connection, catalog):
    first = drop_days(connection, settings, d1=130, d2=20)
    drop_days(connection, settings, d1=11)
    drop_days(connection, settings, d2=21, kg=70)
    assert counted(connection) == {1: (11, 1100), 2: (21, 1470)}

    restored = restore_upload(connection, first.id, [FIRST])

    assert counted(connection) == {1: (130, 13000), 2: (21, 1470)}
    assert (restored.kind, restored.file_name, restored.state, restored.lines) == (YARD, "a.csv", "loaded", 130)
    assert (restored.net_weight_kg, restored.first_day, restored.last_day) == (13000, "2025-12-01", "2025-12-01")
    assert (restored.uploaded_by, restored.reason) == ("restore", f"restored from upload {first.id}")
    results = {check.name: check.evaluate(connection).passed for check in quick_checks(catalog, f"stg.{YARD}")}
    assert results == dict.fromkeys(results, True)
    assert len(results) == 5


def test_nothing_is_removed_and_per_day_the_last_upload_counts(settings, connection):
    first = drop_days(connection, settings, d1=3, d2=2)
    drop_days(connection, settings, d1=1, d2=1)

    restored = restore_upload(connection, first.id)

    rows = connection.execute(
        f"SELECT upload_file_id, count(*), count(*) FILTER (WHERE is_deleted) FROM stg.{YARD} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [(first.id, 5, 5), (first.id + 1, 2, 2), (restored.id, 5, 0)]
    assert connection.execute(f"SELECT count(*) FROM raw.{YARD}").fetchone() == (12,)
    assert restored.id > first.id + 1


def test_the_lines_are_as_the_file_had_them_whatever_was_done_to_them_since(settings, connection):
    first = drop_days(connection, settings, d1=3)
    connection.execute(f"UPDATE stg.{YARD} SET net_weight = 1 WHERE source_row_no = 1")
    connection.execute(f"UPDATE stg.{YARD} SET is_deleted = true, deleted_by = 'hand' WHERE source_row_no = 2")
    drop_days(connection, settings, d1=1)

    restore_upload(connection, first.id)

    assert counted(connection) == {1: (3, 300)}


def test_deriving_the_days_again_changes_nothing(settings, connection):
    first = drop_days(connection, settings, d1=5, d2=5)
    drop_days(connection, settings, d1=1, d2=1)
    restore_upload(connection, first.id, [FIRST])
    before = counted(connection)

    with connection.transaction():
        done = derive_days(connection, find_kind(YARD), FIRST, LAST)

    assert (done.inserted, done.updated, done.deleted) == (0, 0, 0)
    assert counted(connection) == before == {1: (5, 500), 2: (1, 100)}


def test_files_that_are_dropped_again_afterwards_count(settings, connection):
    first = drop_days(connection, settings, d1=5, d2=5)
    drop_days(connection, settings, d1=1)
    restore_upload(connection, first.id, [FIRST])

    assert drop_days(connection, settings, d1=1).status == "loaded"
    assert counted(connection) == {1: (1, 100), 2: (5, 500)}
    # A part of this file has been restored: all of it is another.
    restore_upload(connection, first.id, [FIRST])
    assert drop_days(connection, settings, d1=5, d2=5).status == "loaded"
    assert counted(connection) == {1: (5, 500), 2: (5, 500)}


def test_a_restored_upload_can_be_restored_again(settings, connection):
    first = drop_days(connection, settings, d1=5)
    drop_days(connection, settings, d1=1)
    again = restore_upload(connection, first.id)
    drop_days(connection, settings, d1=2)

    restore_upload(connection, again.id)

    assert counted(connection) == {1: (5, 500)}


def test_an_upload_of_other_software_is_restored_from_its_raw_lines(settings, connection):
    """The web application doesn't say which days an upload holds, and marks what it replaces in its own way."""
    (upload,) = connection.execute(
        "INSERT INTO log.upload_file (file_name, file_hash, file_type, csv_type, row_count, processing_status) "
        "VALUES ('web.csv', 'x', 'FINAL', 'yard', 2, 'success') RETURNING id"
    ).fetchone()
    connection.execute(
        f"INSERT INTO raw.{YARD} (slip_date, net_weight, upload_file_id, source_row_no) "
        "VALUES ('2025/12/01(月)', '1,000', %(id)s, 1), ('2025/12/02', '5', %(id)s, 2)",
        {"id": upload},
    )
    connection.execute(
        f"INSERT INTO stg.{YARD} (slip_date, net_weight, upload_file_id, source_row_no, is_deleted, deleted_by) "
        "VALUES ('2025-12-01', 1000, %(id)s, 1, true, 'web'), ('2025-12-02', 5, %(id)s, 2, true, 'web')",
        {"id": upload},
    )

    restored = restore_upload(connection, upload, [FIRST])

    assert (restored.lines, restored.net_weight_kg) == (1, 1000)
    assert counted(connection) == {1: (1, 1000)}


def test_what_was_not_loaded_cannot_be_restored(settings, connection):
    first = drop_days(connection, settings, d1=2)
    duplicate = drop_days(connection, settings, d1=2)
    rejected = drop_days(connection, settings, d1=2, kg="x")

    for upload, why in ((duplicate.id, "wasn't loaded"), (rejected.id, "wasn't loaded"), (999, "wasn't loaded")):
        with pytest.raises(UploadError, match=f"Upload {upload} {why}; `mv-pipeline uploads` shows"):
            restore_upload(connection, upload)
    with pytest.raises(UploadError, match=f"Upload {first.id} has no line of these days"):
        restore_upload(connection, first.id, [LAST])

    assert counted(connection) == {1: (2, 200)}
    assert connection.execute("SELECT count(*) FROM log.upload_file").fetchone() == (3,)


def test_the_newest_file_comes_first_with_its_fate(connection, settings):
    lines = [line(FINAL, slip_date=day, net_weight=500) for day in ("2025/12/01", "2025/12/03")]
    take(connection, settings, lines)
    take(connection, settings, lines, name="again.csv")
    take(connection, settings, [line(net_weight="x")], name="bad.csv")

    bad, again, good = read_uploads(connection, 10)

    assert (good.file_name, good.kind, good.state, good.lines, good.net_weight_kg) == (
        "a.csv",
        FINAL,
        "loaded",
        2,
        1000,
    )
    assert (good.first_day, good.last_day, good.uploaded_by, good.reason) == (
        "2025-12-01",
        "2025-12-03",
        "tester",
        None,
    )
    assert good.uploaded_at.endswith("+09:00")
    assert (again.state, again.reason) == ("duplicate", f"the same content is active as upload {good.id}")
    assert (bad.state, bad.lines) == ("rejected", 0)
    assert "数値として読めません" in str(bad.reason)


def test_files_are_chosen_by_number_kind_and_fate(connection, settings):
    take(connection, settings, [line(FINAL)])
    take(connection, settings, [line(FLASH)], FLASH, "flash.csv")
    take(connection, settings, [line(net_weight="x")], name="bad.csv")

    def names(*arguments, **options):
        return [file.file_name for file in read_uploads(connection, *arguments, **options)]

    assert names(2) == ["bad.csv", "flash.csv"]
    assert names(9, find_kind(FLASH)) == ["flash.csv"]
    assert names(9, rejected=True) == ["bad.csv"]
