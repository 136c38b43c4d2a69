"""The calendar and the holidays: kept up to the end of next year without anyone's doing (spec: Reference tables).

Closures and exceptions are people's; they are only spelled out here.
"""

from datetime import date

import holidays
from psycopg import sql

from mv_pipeline.database.connection import Connection, identifier, scalar

CALENDAR_START = date(2021, 1, 1)
CLOSURE_DAYS = "ref.v_closure_days"


def extend_calendar(connection: Connection) -> int:
    """Add the calendar's missing days up to the end of the year after the business date.

    Returns:
        The number of days added.
    """
    end = date(scalar(connection, "SELECT ref.business_date()").year + 1, 12, 31)
    added = connection.execute(
        "INSERT INTO ref.calendar_day (ddate) "
        "SELECT day::date FROM generate_series(%s::timestamp, %s::timestamp, interval '1 day') AS day "
        "ON CONFLICT DO NOTHING",
        [CALENDAR_START, end],
    ).rowcount
    connection.execute(
        "INSERT INTO ref.calendar_month (month_date) "
        "SELECT DISTINCT date_trunc('month', ddate)::date FROM ref.calendar_day ON CONFLICT DO NOTHING"
    )
    return added


def sync_holidays(connection: Connection) -> int:
    """Make the holidays over the calendar's span those of the library.

    Returns:
        The number of rows added, renamed or removed.
    """
    span = connection.execute("SELECT min(y), max(y) FROM ref.calendar_day").fetchone()
    if span is None or span[0] is None:
        return 0
    first, last = span
    calendar = holidays.country_holidays("JP", years=range(first, last + 1), language="ja")
    days, names = list(calendar.keys()), list(calendar.values())
    removed = connection.execute(
        "DELETE FROM ref.holiday_jp WHERE extract(year FROM hdate) BETWEEN %s AND %s AND hdate <> ALL (%s)",
        [first, last, days],
    ).rowcount
    written = connection.execute(
        "INSERT INTO ref.holiday_jp AS old (hdate, name) SELECT * FROM unnest(%s::date[], %s::text[]) "
        "ON CONFLICT (hdate) DO UPDATE SET name = excluded.name WHERE old.name <> excluded.name",
        [days, names],
    ).rowcount
    return removed + written


def expand_closures(connection: Connection) -> int:
    """Make ref.closure_membership hold each day of the closure periods once, under the latest that covers it.

    Returns:
        The number of rows added, changed or removed.
    """
    removed = connection.execute(
        sql.SQL("DELETE FROM ref.closure_membership WHERE ddate NOT IN (SELECT ddate FROM {})").format(
            identifier(CLOSURE_DAYS)
        )
    ).rowcount
    written = connection.execute(
        "INSERT INTO ref.closure_membership AS old (ddate, start_date, end_date, closure_name) "
        "SELECT DISTINCT ON (c.ddate) c.ddate, p.start_date, p.end_date, p.closure_name "
        "FROM ref.calendar_day AS c JOIN ref.closure_periods AS p ON c.ddate BETWEEN p.start_date AND p.end_date "
        "ORDER BY c.ddate, p.start_date DESC, p.end_date "
        "ON CONFLICT (ddate) DO UPDATE SET start_date = excluded.start_date, end_date = excluded.end_date, "
        "closure_name = excluded.closure_name WHERE (old.start_date, old.end_date, old.closure_name) "
        "IS DISTINCT FROM (excluded.start_date, excluded.end_date, excluded.closure_name)"
    ).rowcount
    return removed + written


def keep_up(connection: Connection) -> dict[str, int]:
    """Extend the calendar and bring what hangs on it up to date; counts of changed rows by table."""
    return {
        "ref.calendar_day": extend_calendar(connection),
        "ref.holiday_jp": sync_holidays(connection),
        "ref.closure_membership": expand_closures(connection),
    }
