"""What has been uploaded: which upload counts on which day. Today is 2025-12-11, a Thursday."""

from datetime import date, datetime

import pytest

from mv_pipeline.intake.upload_log import missing_days, read_calendar
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.factory import line, take

FINAL, FLASH = "shogun_final_receive", "shogun_flash_receive"
FIRST, LAST = date(2025, 12, 1), date(2025, 12, 31)


@pytest.fixture(autouse=True)
def emptied(connection):
    """Start without what an earlier test has excepted."""
    connection.execute("DELETE FROM ref.calendar_exception")


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


def test_a_day_shows_the_upload_that_counts_its_lines_and_kilograms(dropped, cells):
    dropped(1, 2, kg=700)
    second = dropped(2, 2, kg=300, name="b.csv")

    assert (cells()[FINAL, 1].lines, cells()[FINAL, 1].net_weight_kg) == (1, 700)
    assert (cells()[FINAL, 2].uploads, cells()[FINAL, 2].lines, cells()[FINAL, 2].net_weight_kg) == ([second], 2, 600)


def test_rows_written_by_hand_count_without_an_upload(connection, cells):
    connection.execute(f"INSERT INTO stg.{FINAL} (slip_date, net_weight) VALUES ('2025-12-01', 5)")

    day = cells()[FINAL, 1]
    assert (day.status, day.uploads, day.lines, day.net_weight_kg) == ("loaded", [], 1, 5)


def test_a_business_day_that_is_due_is_missing_unless_another_source_has_it(dropped, connection, cells, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")
    dropped(1, kind=FLASH)

    statuses = {(kind, day): cell.status for (kind, day), cell in cells().items()}

    assert (statuses[FLASH, 1], statuses[FINAL, 1]) == ("loaded", "covered")
    assert (statuses[FINAL, 2], statuses[FLASH, 10]) == ("missing", "missing")
    # Sundays are business days but for the month's second, the 14th.
    assert (statuses[FINAL, 7], statuses[FINAL, 14]) == ("missing", "closed")
    assert (statuses[FINAL, 11], statuses[FINAL, 31]) == ("awaited", "awaited")
    # A list that never had a line isn't used.
    assert {statuses["shogun_final_yard", day] for day in (1, 10)} == {"none"}


def test_king_covers_a_day_too(connection, cells):
    connection.execute(
        "INSERT INTO stg.receive_king_final (invoice_no, invoice_date, vehicle_type_code, net_weight_detail) "
        "VALUES (1, '2025-12-01', 1, 10)"
    )

    assert cells()[FINAL, 1].status == "covered"


# Thursday 2025-12-11, one hour after files are due and one before.
LATE, EARLY = datetime(2025, 12, 11, 10, tzinfo=TIME_ZONE), datetime(2025, 12, 11, 8, tzinfo=TIME_ZONE)


@pytest.fixture
def received(connection):
    """Write lines of a list by hand."""

    def receive(csv_type, *days):
        for day in days:
            insert = f"INSERT INTO stg.shogun_final_{csv_type} (slip_date) VALUES (%s)"
            connection.execute(insert, [date(2025, 12, day)])

    return receive


def missing(connection, csv_type, now=LATE):
    return [day.day for day in missing_days(connection, now=now)[csv_type]]


def test_a_list_that_never_had_a_line_is_not_used(connection):
    assert missing_days(connection, now=LATE) == {}


def test_gaps_of_a_daily_list_are_missing_from_its_first_line_on(connection, received):
    received("receive", 3, 5, 8, 11)

    # The 7th is a Sunday, which is a business day but for the month's second.
    assert missing(connection, "receive") == [4, 6, 7, 9, 10]


def test_of_other_lists_only_days_after_the_newest_line_are_missing(connection, received):
    received("yard", 3, 8)

    assert missing(connection, "yard") == [9, 10]
    received("yard", 11)
    assert missing(connection, "yard") == []


def test_a_day_is_missing_once_its_files_are_due(connection, received):
    received("receive", 8)

    assert (missing(connection, "receive", EARLY), missing(connection, "receive", LATE)) == ([9], [9, 10])


def test_no_day_is_due_early_because_midnight_passes_while_somebody_inspects(connection, received):
    """The clock was read on the 10th, the business date is that of the 11th already."""
    received("receive", 8)

    assert missing(connection, "receive", datetime(2025, 12, 10, 23, 59, 59, tzinfo=TIME_ZONE)) == [9]


def test_a_closed_day_is_never_missing(connection, received):
    received("receive", 8)
    connection.execute(
        "INSERT INTO ref.calendar_exception (ddate, override_type) VALUES ('2025-12-09', 'FORCE_CLOSED')"
    )

    assert missing(connection, "receive") == [10]


def test_days_of_long_ago_are_only_judged_when_asked_for(connection, received):
    connection.execute(f"INSERT INTO stg.{FINAL} (slip_date) VALUES ('2025-11-17')")
    received("receive", *range(1, 11))

    # The two weeks end with the 10th; Sunday the 30th is a business day.
    assert [day.isoformat() for day in missing_days(connection, now=LATE)["receive"]] == [
        *("2025-11-27", "2025-11-28", "2025-11-29", "2025-11-30"),
    ]
    assert min(missing_days(connection, date(2025, 11, 1), LATE)["receive"]) == date(2025, 11, 18)
