"""The Alembic revisions: which are due, and running them in a transaction of the caller's choosing.

What a revision does stands in its file; everything else that migrates works on the same connection.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import cast

import alembic.command
import alembic.config
import sqlalchemy
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from mv_pipeline.database.connection import Connection, Database, scalar

REVISIONS = Path(__file__).parent / "revisions"


@dataclass(frozen=True)
class Revision:
    """A revision that is due: its number, and what it does; none so far locks what isn't this project's own."""

    number: str
    title: str


@dataclass(frozen=True)
class Bound:
    """One transaction on the plant's database, as psycopg and as Alembic see it."""

    connection: Connection
    _bind: sqlalchemy.Connection = field(repr=False)

    def upgrade(self) -> None:
        """Run all revisions that are due."""
        config = _config()
        config.attributes["connection"] = self._bind
        alembic.command.upgrade(config, "head")


@contextlib.contextmanager
def transaction(database: Database, *, keep: bool = True) -> Iterator[Bound]:
    """Lend one transaction in which revisions can run: committed at the end, rolled back on an exception.

    Args:
        database: the plant's.
        keep: without it, the transaction is rolled back at the end.
    """
    # SQLAlchemy lends Alembic the connection; it is ours, with one transaction for everything.
    engine = create_engine("postgresql+psycopg://", creator=partial(database.open, "migrate"), poolclass=NullPool)
    try:
        with engine.connect() as bind, bind.begin() as whole:
            yield Bound(cast(Connection, bind.connection.dbapi_connection), bind)
            if not keep:
                whole.rollback()
    finally:
        engine.dispose()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None: none of ours."""
    if scalar(connection, "SELECT to_regclass('log.mv_pipeline_version') IS NULL"):
        return None
    row = connection.execute("SELECT version_num FROM log.mv_pipeline_version").fetchone()
    return str(row[0]) if row else None


def due(connection: Connection) -> list[Revision]:
    """The revisions that are missing in the database, in order."""
    script = ScriptDirectory.from_config(_config())
    at = current(connection)
    found = reversed(list(script.iterate_revisions("head", at or "base")))
    return [Revision(item.revision, item.doc) for item in found]


def base() -> ModuleType:
    """The first revision, which says how the tables that others may have made have to be."""
    return ScriptDirectory.from_config(_config()).get_revision("0001").module


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(REVISIONS))
    return config
