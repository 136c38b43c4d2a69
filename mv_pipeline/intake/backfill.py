"""Deriving stg rows of given days again from raw: typed anew, the last upload of a day wins.

The caller owns the transaction. What was soft-deleted stays so; a day without raw rows stays as it is; doing it
twice changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, lock_for_transaction
from mv_pipeline.intake import cells
from mv_pipeline.intake.upload_log import UPLOADS


@dataclass(frozen=True)
class Backfill:
    """What a backfill did, in stg rows.

    Args:
        days: the days that have raw rows.
        inserted: rows that were missing.
        updated: rows whose values are read differently now.
        deleted: rows soft-deleted because a later upload holds their day.
    """

    days: list[date]
    inserted: int
    updated: int
    deleted: int


def months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Split a range of days, both ends included, at the ends of months."""
    while first <= last:
        next_month = (first.replace(day=1) + timedelta(days=31)).replace(day=1)
        yield first, min(last, next_month - timedelta(days=1))
        first = next_month


def derive_days(connection: Connection, kind: FileKind, first: date, last: date) -> Backfill:
    """Derive the stg rows of a kind from `first` to `last`, both included, from the raw rows of successful uploads."""
    lock_for_transaction(connection, "backfill", kind.name)
    stg = identifier(f"stg.{kind.name}")
    names = [sql.Identifier(column.name) for column in kind.columns]
    connection.execute("DROP TABLE IF EXISTS pg_temp.derived")
    lines = sql.SQL(
        "{} JOIN (SELECT id AS upload_file_id FROM {} "
        "WHERE kind = %(kind)s AND processing_status = 'success' AND NOT is_deleted "
        # Uploads of other software don't say which days they hold, so their lines are read.
        "AND coalesce((metadata->>'last_day')::date >= %(first)s, true) "
        "AND coalesce((metadata->>'first_day')::date <= %(last)s, true)) AS uploads USING (upload_file_id)"
    ).format(identifier(f"raw.{kind.name}"), UPLOADS)
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE derived ON COMMIT DROP AS "
            "SELECT t.*, t.upload_file_id = max(t.upload_file_id) OVER (PARTITION BY t.slip_date) AS wins "
            "FROM ({}) AS t WHERE t.slip_date BETWEEN %(first)s AND %(last)s"
        ).format(cells.select_typed(kind.columns, lines)),
        {"kind": kind.name, "first": first, "last": last},
    )
    connection.execute("ANALYZE pg_temp.derived")
    columns = sql.SQL(", ").join(names)
    updated = connection.execute(
        sql.SQL(
            "UPDATE {stg} AS s SET ({columns}) = ROW ({derived}) FROM pg_temp.derived AS d "
            "WHERE d.wins AND s.upload_file_id = d.upload_file_id AND s.source_row_no = d.source_row_no "
            "AND ROW ({current}) IS DISTINCT FROM ROW ({derived})"
        ).format(
            stg=stg,
            columns=columns,
            derived=sql.SQL(", ").join(sql.SQL("d.{}").format(name) for name in names),
            current=sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in names),
        )
    ).rowcount
    inserted = connection.execute(
        sql.SQL(
            "INSERT INTO {stg} ({columns}, upload_file_id, source_row_no) "
            "SELECT {columns}, upload_file_id, source_row_no FROM pg_temp.derived AS d WHERE d.wins AND NOT EXISTS "
            "(SELECT FROM {stg} AS s WHERE s.upload_file_id = d.upload_file_id AND s.source_row_no = d.source_row_no) "
            "ORDER BY upload_file_id, source_row_no"
        ).format(stg=stg, columns=columns)
    ).rowcount
    deleted = connection.execute(
        sql.SQL(
            "UPDATE {stg} AS s SET is_deleted = true, deleted_at = now(), deleted_by = 'backfill' "
            "FROM (SELECT slip_date, min(upload_file_id) AS winner FROM pg_temp.derived WHERE wins GROUP BY 1) AS w "
            "WHERE s.slip_date = w.slip_date AND NOT s.is_deleted AND s.upload_file_id < w.winner"
        ).format(stg=stg)
    ).rowcount
    days = [row[0] for row in connection.execute("SELECT DISTINCT slip_date FROM pg_temp.derived ORDER BY 1")]
    return Backfill(days, inserted, updated, deleted)
