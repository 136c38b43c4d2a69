"""What an operator decides about uploads: that an earlier one counts again, or that a day has rightly shrunk.

How a file is loaded is in `intake`. Nothing of Dagster is known here.
"""

from collections.abc import Sequence
from datetime import date

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, identifier, read_query, session_lock
from mv_pipeline.intake import cells
from mv_pipeline.intake.load import replace_days
from mv_pipeline.intake.upload_log import UPLOADS, UploadedFile, read_uploads
from mv_pipeline.settings import OperatorError


class UploadError(OperatorError):
    """An upload isn't what a command needs it to be."""


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
    with session_lock(connection, "intake", kind.name), connection.transaction():
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
