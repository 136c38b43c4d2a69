"""The calendar and the holidays, up to the end of next year without anyone's doing (spec: Reference tables).

Closures and exceptions are people's; they are only expanded here.
"""

from datetime import date

import holidays

from mv_pipeline.database.connection import Connection, identifier, read_query

CALENDAR_START = date(2021, 1, 1)
CLOSURE_DAYS = "ref.v_closure_days"


def extend_calendar(connection: Connection) -> int:
    """Add the calendar's missing days up to the end of the year after the business date.

    Returns:
        The number of days added.
    """
    added = connection.execute(
        "INSERT INTO ref.calendar_day (ddate) SELECT day::date FROM generate_series(%s::timestamp, "
        "date_trunc('year', ref.business_date()::timestamp) + interval '2 years - 1 day', interval '1 day') AS day "
        "ON CONFLICT DO NOTHING",
        [CALENDAR_START],
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
    years = [year for (year,) in connection.execute("SELECT DISTINCT y FROM ref.calendar_day")]
    calendar = holidays.country_holidays("JP", years=years, language="ja")
    removed = connection.execute(
        "DELETE FROM ref.holiday_jp WHERE extract(year FROM hdate) = ANY (%s) AND hdate <> ALL (%s)",
        [years, list(calendar)],
    ).rowcount
    written = connection.execute(
        "INSERT INTO ref.holiday_jp AS old (hdate, name) SELECT * FROM unnest(%s::date[], %s::text[]) "
        "ON CONFLICT (hdate) DO UPDATE SET name = excluded.name WHERE old.name <> excluded.name",
        [list(calendar), list(calendar.values())],
    ).rowcount
    return removed + written


def expand_closures(connection: Connection) -> int:
    """Make ref.closure_membership hold each day of the closure periods once, under the latest that covers it.

    Returns:
        The number of rows added, changed or removed.
    """
    query = read_query(__file__, "expand_closures").format(closure_days=identifier(CLOSURE_DAYS))
    return connection.execute(query).rowcount


def update_reference_tables(connection: Connection) -> dict[str, int]:
    """Extend the calendar and bring what depends on it up to date; counts of changed rows by table."""
    return {
        "ref.calendar_day": extend_calendar(connection),
        "ref.holiday_jp": sync_holidays(connection),
        "ref.closure_membership": expand_closures(connection),
    }
