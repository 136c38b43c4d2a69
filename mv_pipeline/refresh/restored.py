"""Noticing that the database has been restored on another server, so that nobody has to know and say so.

A dump keeps the numbers of the old server's transactions in log.change_note.xid and log.view_refresh.snapshot. On a
server that hasn't counted as far, a new note would look like one that the view has long seen.
"""

from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline.refresh.rollup import log_days


def detect_restore(connection: Connection) -> bool:
    """If this server isn't the one that wrote the log, make every note news and have every day rolled up again.

    The server is told by its system identifier, which initdb gives it: a copy of its files keeps it, and with it the
    count of transactions; a dump restored elsewhere and an upgrade by pg_upgrade find another one.

    Returns:
        True if it was another server.
    """
    with connection.transaction():
        restored: bool = scalar(connection, "SELECT log.take_over()")
        if restored:
            for csv_type in ROLLUPS:
                log_days(connection, csv_type)
    return restored
