"""Noticing that the database has been restored on another server, so that nobody has to know and say so.

A dump keeps the numbers of the old server's transactions in log.change_note.xid, log.view_refresh.snapshot and
log.rollup.seen. On a server that hasn't counted as far, a new entry would look like one that has long been seen.
"""

from mv_pipeline.database.connection import Connection, scalar


def detect_restore(connection: Connection) -> bool:
    """If this server isn't the one that wrote the log, make every entry news and every day of every rollup owed.

    The server is told by its system identifier, which initdb gives it: a copy of its files keeps it, and with it the
    count of transactions; a dump restored elsewhere and an upgrade by pg_upgrade find another one.

    Returns:
        True if it was another server.
    """
    restored: bool = scalar(connection, "SELECT log.take_over()")
    return restored
