"""The newest uploads, and what an operator decides about them: that an earlier one counts again, or a day is right so.

How a file is loaded is in `intake`. Nothing of Dagster is known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from psycopg import sql
from psycopg.rows import class_row

from mv_pipeline.catalog.csv_kinds import FileKind, find_kind
from mv_pipeline.database.connection import Connection, identifier, lock_table, read_query
from mv_pipeline.intake import cells
from mv_pipeline.intake.load import replace_days
from mv_pipeline.intake.upload_log import UPLOADS
from mv_pipeline.settings import OperatorError

State = Literal["loaded", "duplicate", "rejected", "unfinished"]


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
        reason: why it was rejected, in Japanese; else which upload it repeats or was restored from, or what was odd.
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


class UploadError(OperatorError):
    """An upload isn't what a command needs it to be."""


def read_uploads(
    connection: Connection, limit: int | None, kind: FileKind | None = None, *, rejected: bool = False, after: int = 0
) -> list[UploadedFile]:
    """The newest files of the log, newest first.

    Args:
        limit: how many at most; None: all.
        kind: only this kind's; None: all.
        rejected: only those that were rejected.
        after: only those with a higher number.
    """
    query = read_query(__file__, "newest_uploads").format(uploads=UPLOADS)
    params = {"after": after, "kind": kind and kind.name, "rejected": rejected, "limit": limit}
    return connection.cursor(row_factory=class_row(UploadedFile)).execute(query, params).fetchall()


def restore_upload(connection: Connection, upload_id: int, days: Sequence[date] = ()) -> UploadedFile:
    """Let the lines of an earlier upload count again on their days, read anew from raw.

    They become an upload of their own, as if the file had been dropped again: so the last upload of a day still is the
    one that counts, for everybody who goes by that rule.

    Args:
        connection: in autocommit mode.
        days: only these; empty: all days of the upload.

    Raises:
        UploadError: it wasn't loaded, or has no lines of these days.
    """
    loaded = sql.SQL("SELECT kind FROM {} WHERE id = %s AND state = 'loaded'").format(UPLOADS)
    row = connection.execute(loaded, [upload_id]).fetchone()
    if row is None:
        raise UploadError(f"Upload {upload_id} wasn't loaded; `mv-pipeline uploads` shows what became of each.")
    kind = find_kind(row[0])
    query = read_query(__file__, "restore_upload").format(
        raw=identifier(f"raw.{kind.name}"),
        stg=identifier(f"stg.{kind.name}"),
        columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in kind.columns),
        slip_date=cells.value(cells.trimmed(sql.Identifier("slip_date")), "date"),
        typed=cells.select_typed(kind.columns, sql.SQL("cells")),
    )
    with connection.transaction():
        lock_table(connection, f"stg.{kind.name}")
        row = connection.execute(query, {"upload_id": upload_id, "days": list(days)}).fetchone()
        if row is None:
            raise UploadError(f"Upload {upload_id} has no line of these days; `mv-pipeline uploads` shows its days.")
        replace_days(connection, kind, row[0])
        (restored,) = read_uploads(connection, 1, kind)
    return restored


def confirm_upload(connection: Connection, upload_id: int) -> list[str]:
    """Note that the days that an upload has left with far less than they had are right so.

    Returns:
        The days, in ISO form.

    Raises:
        UploadError: it has left no day so.
    """
    row = connection.execute(
        "UPDATE log.upload_file SET metadata = metadata || jsonb_build_object('confirmed_at', now()) "
        "WHERE id = %s AND metadata ? 'shrunk' RETURNING metadata->'shrunk'",
        [upload_id],
    ).fetchone()
    if row is None:
        raise UploadError(f"Upload {upload_id} has left no day with far less than it had: nothing is to be confirmed.")
    return [shrunk["day"] for shrunk in row[0]]
