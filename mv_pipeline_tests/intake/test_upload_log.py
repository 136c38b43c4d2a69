"""What has been uploaded: the newest files, and which upload counts on which day. Today is 2025-12-11, a Thursday."""

from datetime import date

import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.intake.upload_log import missing_days, read_calendar, read_uploads
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline_tests.factory import line, take

FINAL, FLASH = "shogun_final_receive", "shogun_flash_receive"
FIRST, LAST = date(2025, 12, 1), date(2025, 12, 31)


@pytest.fixture
def dropped(connection, settings):
    """Drop a file of the given days of December 2025, and return its upload's number."""

    def drop(*days, kind=FINAL, kg=1000, name="a.csv"):
        lines = [line(kind, slip_date=f"2025/12/{day:02}", net_weight=kg) for day in days]
        return take(connection, settings, lines, kind, name).id

    return drop


@pytest.fixture
def cells(connection):
    """The calendar of December 2025 by kind and day of the month."""
    return lambda: {(day.kind, day.ddate.day): day for day in read_calendar(connection, FIRST, LAST)}


def test_the_newest_file_comes_first_with_its_fate(dropped, connection, settings):
    dropped(1, 3, kg=500)
    dropped(1, 3, kg=500, name="again.csv")
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


def test_files_are_chosen_by_number_kind_and_fate(dropped, connection, settings):
    dropped(1)
    dropped(1, kind=FLASH, name="flash.csv")
    take(connection, settings, [line(net_weight="x")], name="bad.csv")

    def names(*arguments, **options):
        return [file.file_name for file in read_uploads(connection, *arguments, **options)]

    assert names(2) == ["bad.csv", "flash.csv"]
    assert names(9, find_kind(FLASH)) == ["flash.csv"]
    assert names(9, rejected=True) == ["bad.csv"]


def test_a_day_shows_the_upload_that_counts_its_lines_and_kilograms(dropped, cells):
    dropped(1, 2, kg=700)
    second = dropped(2, 2, kg=300, name="b.csv")

    assert (cells()[FINAL, 1].lines, cells()[FINAL, 1].net_weight_kg) == (1, 700)
    assert (cells()[FINAL, 2].uploads, cells()[FINAL, 2].lines, cells()[FINAL, 2].net_weight_kg) == ((second,), 2, 600)


def test_rows_written_by_hand_count_without_an_upload(connection, cells):
    connection.execute(f"INSERT INTO stg.{FINAL} (slip_date, net_weight) VALUES ('2025-12-01', 5)")

    day = cells()[FINAL, 1]
    assert (day.status, day.uploads, day.lines, day.net_weight_kg) == ("loaded", (), 1, 5)


def test_a_business_day_that_is_over_is_missing_unless_another_source_has_it(dropped, cells):
    dropped(1, kind=FLASH)

    statuses = {(kind, day): cell.status for (kind, day), cell in cells().items()}

    assert (statuses[FLASH, 1], statuses[FINAL, 1]) == ("loaded", "covered")
    assert (statuses[FINAL, 2], statuses[FLASH, 10]) == ("missing", "missing")
    # Sundays are business days but for the month's second, the 14th.
    assert (statuses[FINAL, 7], statuses[FINAL, 14]) == ("missing", "closed")
    assert (statuses[FINAL, 11], statuses[FINAL, 31]) == ("awaited", "awaited")
    assert statuses["shogun_final_yard", 1] == "missing"


def test_king_covers_a_day_too(connection, cells):
    connection.execute(
        "INSERT INTO stg.receive_king_final (invoice_no, invoice_date, vehicle_type_code, net_weight_detail) "
        "VALUES (1, '2025-12-01', 1, 10)"
    )
    update_rollup(connection, "receive")

    assert cells()[FINAL, 1].status == "covered"
    assert missing_days(connection, "receive", FIRST, date(2025, 12, 2)) == [date(2025, 12, 2)]


def test_a_closed_day_is_never_missing(connection):
    connection.execute(
        "INSERT INTO ref.calendar_exception (ddate, override_type) VALUES ('2025-12-02', 'FORCE_CLOSED')"
    )

    assert missing_days(connection, "yard", date(2025, 12, 1), date(2025, 12, 3)) == [
        date(2025, 12, 1),
        date(2025, 12, 3),
    ]
