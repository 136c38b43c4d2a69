"""The Alembic revisions: which are due, and running them in a transaction of the caller's choosing.

What a revision does is in its file; everything else that migrates works on the same connection.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import cast

import alembic.command
import alembic.config
import sqlalchemy
from alembic.script import Script, ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from mv_pipeline.database.connection import Connection, Database, scalar

REVISIONS = Path(__file__).parent / "revisions"


@contextlib.contextmanager
def transaction(database: Database, *, keep: bool = True) -> Iterator[tuple[Connection, Callable[[], None]]]:
    """Lend one transaction, and what runs in it all revisions that are due.

    Args:
        keep: commit at the end if there is no exception; without it, the transaction is rolled back in any case.
    """
    # SQLAlchemy lends Alembic the connection; it is ours, with one transaction for everything.
    engine = create_engine("postgresql+psycopg://", creator=partial(database.open, "migrate"), poolclass=NullPool)
    try:
        with engine.connect() as bind, bind.begin() as whole:
            yield cast(Connection, bind.connection.dbapi_connection), partial(_upgrade, bind)
            if not keep:
                whole.rollback()
    finally:
        engine.dispose()


def _upgrade(bind: sqlalchemy.Connection) -> None:
    config = alembic.config.Config(attributes={"connection": bind})
    config.set_main_option("script_location", str(REVISIONS))
    alembic.command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None: none of ours."""
    if scalar(connection, "SELECT to_regclass('log.mv_pipeline_version') IS NULL"):
        return None
    row = connection.execute("SELECT version_num FROM log.mv_pipeline_version").fetchone()
    return str(row[0]) if row else None


def due(connection: Connection) -> list[Script]:
    """The revisions that are missing in the database, in order; none so far locks what isn't this project's own."""
    missing = ScriptDirectory(REVISIONS).iterate_revisions("head", current(connection) or "base")
    return [*reversed([*missing])]


def base() -> ModuleType:
    """The first revision, which says how the tables that others may have made have to be."""
    return ScriptDirectory(REVISIONS).get_revision("0001").module
