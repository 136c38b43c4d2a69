"""Old rows of the log tables. Which rows nothing reads any more is known by the owner's function in the database."""

from datetime import datetime

from mv_pipeline.database.connection import Connection, limit_waits
from mv_pipeline.operations.retention.limits import Deleted, Limits


def delete_rows(connection: Connection, before: datetime, limits: Limits) -> dict[str, Deleted]:
    """Delete old rows of the log, in one transaction.

    Args:
        connection: in autocommit mode; of the pipeline's role, which can't delete them itself.
        before: aware.
        limits: of this night.

    Returns:
        What was deleted, by table.
    """
    with connection.transaction():
        limit_waits(connection, statement_timeout=f"{max(limits.left_s, 1):.0f}s")
        rows = connection.execute("SELECT * FROM log.forget(%s, %s)", [before, limits.rows]).fetchall()
    return {table: Deleted(count, more=count >= limits.rows) for table, count in rows}
