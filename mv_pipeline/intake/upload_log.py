"""What has been uploaded: the newest files, and which upload counts on which day.

Reads the log and the staging tables; how a file is loaded stands in `intake`. Nothing of Dagster is known here.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.settings import TIME_ZONE

# The log's own words (spec: Staging) are fewer: a file whose rows were there already is logged as a success.
State = Literal["loaded", "duplicate", "rejected", "unfinished"]
DayStatus = Literal["loaded", "covered", "missing", "closed", "awaited"]


@dataclass(frozen=True)
class UploadedFile:
    """One file of the log.

    Args:
        id: its number in log.upload_file.
        uploaded_at: ISO time in Asia/Tokyo.
        kind: its CSV kind, as in shogun_flash_receive.
        file_name: its name in the inbox.
        state: what became of it.
        lines: data lines loaded.
        net_weight_kg: their weight (kg).
        first_day, last_day: ISO dates of the days in it.
        uploaded_by: who dropped it, or `inbox`.
        reason: why it was rejected, in Japanese, or which upload it repeats.
    """

    id: int
    uploaded_at: str
    kind: str
    file_name: str
    state: State
    lines: int
    net_weight_kg: float | None
    first_day: str | None
    last_day: str | None
    uploaded_by: str | None
    reason: str | None


@dataclass(frozen=True)
class UploadDay:
    """One day of one kind.

    Args:
        ddate: the slip date.
        day_type: NORMAL, RESERVATION or CLOSED.
        is_business: whether slips are expected.
        kind: the CSV kind.
        status: `loaded`; else `covered` (another source of the list has the day), `missing` (a business day that is
            over and that no source of the list has), `closed`, or `awaited` (not over yet).
        uploads: the numbers of the uploads whose rows are active; rows written by hand have none.
        lines: active rows.
        net_weight_kg: their weight (kg).
    """

    ddate: date
    day_type: str
    is_business: bool
    kind: str
    status: DayStatus
    uploads: tuple[int, ...]
    lines: int
    net_weight_kg: Decimal


def read_uploads(
    connection: Connection, limit: int, kind: FileKind | None = None, *, rejected: bool = False
) -> list[UploadedFile]:
    """The newest files of the log, newest first.

    Args:
        connection: to the plant's database.
        limit: how many at most.
        kind: only this kind's; None: all.
        rejected: only those that were rejected.
    """
    rows = connection.execute(
        "SELECT id, uploaded_at, file_type, csv_type, file_name, "
        "CASE WHEN processing_status = 'failed' THEN 'rejected' "
        "WHEN processing_status <> 'success' THEN 'unfinished' WHEN metadata ? 'duplicate_of' THEN 'duplicate' "
        "ELSE 'loaded' END, coalesce(row_count, 0), (metadata->>'net_weight_kg')::float, metadata->>'first_day', "
        "metadata->>'last_day', uploaded_by, coalesce(error_message, "
        "'the same content is active as upload ' || (metadata->>'duplicate_of')) FROM log.upload_file "
        "WHERE (%(version)s::text IS NULL OR (file_type, csv_type) = (%(version)s, %(csv_type)s)) "
        "AND (NOT %(rejected)s OR processing_status = 'failed') ORDER BY id DESC LIMIT %(limit)s",
        {
            "version": kind.version.upper() if kind else None,
            "csv_type": kind.list.csv_type if kind else None,
            "rejected": rejected,
            "limit": limit,
        },
    ).fetchall()
    return [
        UploadedFile(
            number,
            at.astimezone(TIME_ZONE).isoformat(timespec="seconds"),
            f"shogun_{version.lower()}_{csv_type}",
            *rest,
        )
        for number, at, version, csv_type, *rest in rows
    ]


def read_calendar(connection: Connection, first: date, last: date) -> list[UploadDay]:
    """Each day from `first` to `last`, both included, for each kind: which upload counts, and what is missing."""
    active = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {kind} AS kind, slip_date AS ddate, "
            "array_agg(DISTINCT upload_file_id) FILTER (WHERE upload_file_id IS NOT NULL) AS uploads, "
            "count(*) AS lines, coalesce(sum(net_weight), 0) AS kg FROM {active} "
            "WHERE slip_date BETWEEN %(first)s AND %(last)s GROUP BY slip_date"
        ).format(kind=sql.Literal(kind.name), active=identifier(f"stg.v_active_{kind.name}"))
        for kind in KINDS
    )
    kinds = sql.SQL(", ").join(
        sql.SQL("({}, {}, {})").format(sql.Literal(kind.name), sql.Literal(kind.list.csv_type), sql.Literal(position))
        for position, kind in enumerate(KINDS)
    )
    rows = connection.execute(
        sql.SQL(
            "WITH kinds (kind, csv_type, position) AS (VALUES {kinds}), active AS ({active}), "
            # What has only just been loaded may not be rolled up yet, and king stands in the rollup alone.
            "covered AS (SELECT csv_type, ddate FROM mart.rollup_daily WHERE line_count > 0 "
            "UNION SELECT csv_type, ddate FROM active JOIN kinds USING (kind)) "
            "SELECT c.ddate, c.day_type, c.is_business, k.kind, CASE WHEN a.lines > 0 THEN 'loaded' "
            "WHEN (k.csv_type, c.ddate) IN (SELECT csv_type, ddate FROM covered) THEN 'covered' "
            "WHEN NOT c.is_business THEN 'closed' WHEN c.ddate < ref.business_date() THEN 'missing' "
            "ELSE 'awaited' END, "
            "coalesce(a.uploads, '{{}}'), coalesce(a.lines, 0), coalesce(a.kg, 0) "
            "FROM ref.v_calendar_classified AS c CROSS JOIN kinds AS k "
            "LEFT JOIN active AS a ON a.kind = k.kind AND a.ddate = c.ddate "
            "WHERE c.ddate BETWEEN %(first)s AND %(last)s ORDER BY c.ddate, k.position"
        ).format(active=active, kinds=kinds),
        {"first": first, "last": last},
    ).fetchall()
    return [
        UploadDay(ddate, day_type, is_business, kind, status, tuple(uploads), lines, kg)
        for ddate, day_type, is_business, kind, status, uploads, lines, kg in rows
    ]


def missing_days(connection: Connection, csv_type: str, first: date, last: date) -> list[date]:
    """The business days from `first` to `last`, both included, on which no source of a list has a row."""
    rows = connection.execute(
        "SELECT ddate FROM ref.v_calendar_classified AS c WHERE is_business AND ddate BETWEEN %s AND %s "
        "AND NOT EXISTS (SELECT FROM mart.rollup_daily AS r WHERE r.csv_type = %s AND r.ddate = c.ddate "
        "AND r.line_count > 0) ORDER BY ddate",
        [first, last, csv_type],
    ).fetchall()
    return [day for (day,) in rows]
