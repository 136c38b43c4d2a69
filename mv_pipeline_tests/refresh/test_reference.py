"""Calendar, holidays and closed days keep themselves up."""

from datetime import date

import pytest

from mv_pipeline.refresh import reference


@pytest.mark.parametrize(
    ("business_date", "last_day"), [("2025-12-31", date(2026, 12, 31)), ("2026-01-01", date(2027, 12, 31))]
)
def test_the_calendar_reaches_the_end_of_next_year(connection, business_date, last_day):
    connection.execute(f"SET mv_pipeline.business_date = '{business_date}'")

    reference.extend_calendar(connection)

    span = connection.execute("SELECT min(ddate), max(ddate), count(*) FROM ref.calendar_day").fetchone()
    assert span == (date(2021, 1, 1), last_day, (last_day - date(2021, 1, 1)).days + 1)


def test_months_come_with_the_days(connection):
    assert connection.execute(
        "SELECT min(month_date), max(month_date), count(*) FROM ref.calendar_month"
    ).fetchone() == (
        date(2021, 1, 1),
        date(2026, 12, 1),
        72,
    )


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2025, 1, 1), "元日"),
        (date(2025, 2, 24), "振替休日"),
        (date(2021, 7, 22), "海の日"),
        (date(2026, 9, 22), "国民の休日"),
    ],
)
def test_holidays_are_the_publics_with_substitutes_and_moved_ones(connection, day, name):
    found = connection.execute("SELECT name FROM ref.holiday_jp WHERE hdate = %s", [day]).fetchone()

    assert found == (name,)


def test_a_wrong_or_missing_holiday_is_put_right(connection):
    connection.execute("INSERT INTO ref.holiday_jp VALUES ('2025-12-02', '社長の誕生日')")
    connection.execute("DELETE FROM ref.holiday_jp WHERE hdate = '2025-01-01'")
    connection.execute("UPDATE ref.holiday_jp SET name = '?' WHERE hdate = '2025-11-03'")

    assert reference.sync_holidays(connection) == 3
    assert reference.sync_holidays(connection) == 0


def test_closed_days_follow_the_periods(connection):
    connection.execute("INSERT INTO ref.closure_periods VALUES ('2025-12-30', '2026-01-03', '年末年始')")

    assert reference.expand_closures(connection) == 5
    connection.execute("DELETE FROM ref.closure_periods")
    assert reference.expand_closures(connection) == 5
    assert connection.execute("SELECT count(*) FROM ref.closure_membership").fetchone() == (0,)
