"""What every run is given: the warehouse database, and a sign of life in it.

A run holds an advisory lock as long as its process lives, so that nobody has to believe a status that a dead process
left behind.
"""

from collections.abc import Iterator

import dagster as dg

from mv_pipeline.database.connection import Connection, Database, is_locked, session_lock

_LOCK = "run"


@dg.resource(description="The warehouse database. The run's sign of life is a lock in it.")
def database_resource(context: dg.InitResourceContext) -> Iterator[Database]:
    """Lend the database to a run, and hold the run's lock meanwhile."""
    database = Database()
    run_id = context.run.run_id if context.run else ""
    with database.connect(f"run {run_id[:8]}") as connection, session_lock(connection, _LOCK, run_id):
        yield database


def is_alive(connection: Connection, run_id: str) -> bool:
    """True if the process of a run lives."""
    return is_locked(connection, _LOCK, run_id)
