"""Refreshes without a pause, or one a second, in a process of their own: `python -m bench.background WHO URL`.

It says when the first refresh is done, and SIGTERM ends it after the one that it is in. Ours have news each time, so
that they write.
"""

import signal
import sys
import threading

from psycopg import sql

from bench import data, ours, rivals
from bench.report import EVERY_SECOND, FULL, OURS
from bench.stage import RECEIVE_KIND
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Connection, Database, identifier
from mv_pipeline.settings import PROJECT_ROOT


def main() -> None:
    """Refresh for whom the arguments name until SIGTERM."""
    who, url = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    catalog = load_catalog(PROJECT_ROOT / "sql")
    begun = False
    with Database(url=url).connect() as connection:
        while not stop.is_set():
            if who in (OURS, EVERY_SECOND):
                _change_and_refresh(catalog, connection)
            else:
                rivals.refresh(connection, concurrently=who == FULL)
            if not begun:
                print("begun", flush=True)  # noqa: T201  # the parent waits for it
                begun = True
            if who == EVERY_SECOND:
                stop.wait(1)


def _change_and_refresh(catalog: Catalog, connection: Connection) -> None:
    connection.execute(
        sql.SQL("UPDATE {} SET net_weight = net_weight + 10 WHERE slip_date = %s AND NOT is_deleted").format(
            identifier(f"stg.{RECEIVE_KIND}")
        ),
        data.recent_days(1),
    )
    ours.refresh_receive_daily(catalog, connection)


if __name__ == "__main__":
    main()
