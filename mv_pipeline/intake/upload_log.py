"""What has been uploaded: which upload counts on which day, and what is missing.

Reads the log and the staging tables; how a file is loaded is in `load`. Nothing of Dagster is known here.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, FileKind
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.settings import TIME_ZONE, load_settings

DayStatus = Literal["loaded", "covered", "missing", "closed", "awaited", "none"]

MISSING_SINCE_DAYS = 14

UPLOADS = read_query(__file__, "uploads")


@dataclass(frozen=True)
class UploadDay:
    """One day of one kind.

    Args:
        ddate: the slip date.
        day_type: NORMAL, RESERVATION or CLOSED.
        is_business: whether slips are expected.
        status: `loaded`; else `covered` (another source of the list has the day), `missing` (see
            `missing_days`), `closed`, `awaited` (not due yet), or `none` (no line, and none had to come).
        uploads: the numbers of the uploads whose rows are active; rows written by hand have none.
        lines: active rows.
        net_weight_kg: their weight (kg).
    """

    ddate: date
    day_type: str
    is_business: bool
    kind: str
    status: DayStatus
    uploads: list[int]
    lines: int
    net_weight_kg: Decimal


def count_lines(connection: Connection, kind: FileKind) -> int:
    """The lines of all uploads of a kind, from the log: counting a table of years would cost more at every upload."""
    query = sql.SQL("SELECT coalesce(sum(row_count), 0) FROM {} WHERE kind = %s AND processing_status = 'success'")
    return int(scalar(connection, query.format(UPLOADS), [kind.name]))


def select_shrunk_days(kind: FileKind) -> sql.Composed:
    """What follows FROM to read the days that uploads have left with far less than they had, unless confirmed."""
    query = read_query(__file__, "shrunk_days")
    return query.format(uploads=UPLOADS, kind=kind.name, stg=identifier(f"stg.{kind.name}"))


def read_calendar(connection: Connection, first: date, last: date) -> list[UploadDay]:
    """Each day from `first` to `last`, both included, for each kind: which upload counts, and what is missing."""
    active_lines = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} AS kind, slip_date, upload_file_id, net_weight FROM {}").format(
            kind.name, identifier(f"stg.v_active_{kind.name}")
        )
        for kind in KINDS
    )
    query = read_query(__file__, "calendar").format(active_lines=active_lines)
    missing = {csv_type: list(map(str, days)) for csv_type, days in missing_days(connection, since=first).items()}
    params = {
        "kinds": [kind.name for kind in KINDS],
        "csv_types": [kind.list.csv_type for kind in KINDS],
        "missing": Jsonb(missing),
        "first": first,
        "last": last,
        "due": newest_due_day(connection),
    }
    return connection.cursor(row_factory=class_row(UploadDay)).execute(query, params).fetchall()


def missing_days(
    connection: Connection, since: date | None = None, now: datetime | None = None
) -> dict[str, list[date]]:
    """The business days without a line whose files are due, of each list that has ever had a line.

    A list counts from its first line on. Where not every business
    day has lines (`CsvList.daily`), a later line says that a day had none: only days after the newest line are missing.

    Args:
        since: the first day to judge; None: the last MISSING_SINCE_DAYS that are due.
        now: aware; None: the clock's.
    """
    due = newest_due_day(connection, now)
    rows = connection.execute(
        read_query(__file__, "missing_days"),
        {
            "since": since or due - timedelta(days=MISSING_SINCE_DAYS - 1),
            "due": due,
            "daily": [csv_list.csv_type for csv_list in LISTS if csv_list.daily],
        },
    )
    return dict(rows.fetchall())


def due_at(day: date) -> datetime:
    """When the files of a day have to be there."""
    return datetime.combine(day, time(), TIME_ZONE) + _due_after()


def newest_due_day(connection: Connection, now: datetime | None = None) -> date:
    """The newest day whose files have to be there, by the clock's time on the business date.

    Args:
        now: aware; None: the clock's.
    """
    today: date = scalar(connection, "SELECT ref.business_date()")
    clock = (now or datetime.now(TIME_ZONE)).astimezone(TIME_ZONE)
    # Midnight has passed since the caller looked at the clock: by that time it was still the day before.
    if today == clock.date() + timedelta(days=1):
        today = clock.date()
    return (datetime.combine(today, clock.timetz()) - _due_after()).date()


def _due_after() -> timedelta:
    """How long after a day's midnight its files are due: at `files_due_hour` of the next day."""
    return timedelta(days=1, hours=load_settings().files_due_hour)
