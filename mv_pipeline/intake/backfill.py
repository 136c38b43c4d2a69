"""Deriving stg rows of given days again from raw: typed anew, the last upload of a day wins.

The caller owns the transaction. What was soft-deleted stays so; a day without raw rows stays as it is; doing it
twice changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg import sql
from psycopg.rows import class_row

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, lock_table, read_query
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
    lock_table(connection, f"stg.{kind.name}")
    accepted_lines = sql.SQL("{} JOIN accepted USING (upload_file_id)").format(identifier(f"raw.{kind.name}"))
    columns, derived, current = (
        sql.SQL(", ").join(sql.Identifier(*table, column.name) for column in kind.columns)
        for table in ((), ("d",), ("s",))
    )
    script = read_query(__file__, "derive_days").format(
        typed=cells.select_typed(kind.columns, accepted_lines),
        uploads=UPLOADS,
        kind=kind.name,
        first=first,
        last=last,
        stg=identifier(f"stg.{kind.name}"),
        columns=columns,
        derived=derived,
        current=current,
    )
    cursor = connection.cursor(row_factory=class_row(Backfill)).execute(script)
    (backfill,) = cursor.set_result(-1).fetchall()
    return backfill
