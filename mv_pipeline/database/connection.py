"""Connections to the warehouse database: one way to open one, one owner for each transaction.

What every session of ours is like, Dagster's included, is in session.yaml. No table, view or rule is known here.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import yaml
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from mv_pipeline.settings import load_settings

Connection = psycopg.Connection[tuple[Any, ...]]

APPLICATION = "mv_pipeline"
SESSION = yaml.safe_load(Path(__file__).with_name("session.yaml").read_text(encoding="utf-8"))
_TRANSIENT = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.TooManyConnections,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ConnectionException,
)


@dataclass(frozen=True)
class Database:
    """The warehouse database.

    Args:
        url: a postgresql:// URL; empty: the one that the settings name.
    """

    # A URL may hold a password, so no text that is made of a Database does.
    url: str = field(default="", repr=False)

    def open(self, what: str = "", autocommit: bool = False) -> Connection:
        """Open a connection that the caller closes; times it shows are Asia/Tokyo.

        Args:
            what: what it is for; pg_stat_activity shows it as `mv_pipeline <what>`.
            autocommit: without it, the first statement begins a transaction.
        """
        parameters = session_parameters(self.url or load_settings().resolved_database_url(), what)
        try:
            return psycopg.connect(**parameters, autocommit=autocommit)
        except psycopg.OperationalError as error:
            # As PgBouncer says it.
            if "startup parameter" in str(error):
                error.args = (f"{error}. {SESSION['pooler']}",)
            raise

    def connect(self, what: str = "") -> Connection:
        """Open a connection in autocommit mode; whoever needs a transaction opens it by `.transaction()`."""
        return self.open(what, autocommit=True)

    @contextlib.contextmanager
    def transaction(self, what: str = "") -> Iterator[Connection]:
        """Lend a connection with one transaction: committed at the end, rolled back on an exception."""
        with self.connect(what) as connection, connection.transaction():
            yield connection


def session_parameters(url: str, what: str, **pinned: str) -> dict[str, Any]:
    """What a driver needs to open a session of ours: what the URL says, and after its options the pinned settings.

    Args:
        url: as PostgreSQL's own library reads it.
        what: as in `Database.open`.
        pinned: settings that differ from those in session.yaml.

    Raises:
        psycopg.OperationalError: the server can't be asked for its version.
    """
    given = {**SESSION["connection"], **conninfo_to_dict(url)}
    # The library would send these after the options, so they would win; and go to this address instead of the host's.
    for variable in ("PGDATESTYLE", "PGTZ", "PGGEQO", *(["PGHOSTADDR"] if "host" in given else [])):
        os.environ.pop(variable, None)
    options = [given["options"]]
    for name, value in {**SESSION["pinned"], **pinned}.items():
        if _server_version(url) >= SESSION["since"].get(name, 0):
            options.append(f"-c {name}=" + value.replace(" ", "\\ "))
    name = f"{APPLICATION} {what}".rstrip()
    return {**given, "application_name": name, "client_encoding": "utf8", "options": " ".join(options)}


@functools.lru_cache(maxsize=16)
def _server_version(url: str) -> int:
    """The number of the server's version, asked once a process."""
    parameters = {**SESSION["connection"], **conninfo_to_dict(url), "application_name": f"{APPLICATION} version"}
    with contextlib.closing(psycopg.connect(**parameters)) as connection:
        return connection.info.server_version


def describe_unreachable(error: psycopg.OperationalError) -> str:
    """Say in a sentence, as the driver does, why the database can't be reached."""
    return f"The database can't be reached: {str(error).strip()}"


def create_database(connection: Connection, name: str) -> None:
    """Create a database if the server doesn't have it; outside of a transaction, as PostgreSQL wants."""
    if not scalar(connection, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [name]):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def is_transient(error: Exception) -> bool:
    """True if the same statement may succeed a little later: a lost race, lock or connection, or no free one."""
    # What the client itself finds out about a connection has no code of the server's.
    lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return lost or isinstance(error, _TRANSIENT)


def limit_waits(connection: Connection, **more: str) -> None:
    """Bound how long each statement of this transaction may wait for a lock, and how long it may take.

    Args:
        connection: in a transaction.
        more: other settings of the server for this transaction.
    """
    settings = load_settings()
    values = {
        "lock_timeout": f"{settings.lock_timeout_seconds}s",
        "statement_timeout": f"{settings.statement_timeout_seconds}s",
        **more,
    }
    connection.execute("SELECT set_config(key, value, true) FROM jsonb_each_text(%s)", [Jsonb(values)])


def identifier(name: str) -> sql.Identifier:
    """Quote a `schema.relation` name for use in a statement."""
    return sql.Identifier(*name.split(".", 1))


def read_query(module: str, name: str) -> sql.SQL:
    """The SQL text `queries/<name>.sql` next to a module.

    Args:
        module: its `__file__`.
    """
    return sql.SQL(Path(module).with_name("queries").joinpath(f"{name}.sql").read_text(encoding="utf-8"))


def lock_for_transaction(connection: Connection, *key: str) -> None:
    """Wait for the advisory lock of that key; it ends with the transaction, however that ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_lock_name(key)])


@contextlib.contextmanager
def session_lock(connection: Connection, *key: str, wait: bool = True) -> Iterator[bool]:
    """Hold the advisory lock of that key during the block; it dies with the session, so nobody has to unlock it.

    Args:
        connection: in autocommit mode.
        key: what is locked.
        wait: until nobody else holds it; otherwise the block is told by False that somebody does.
    """
    name = _lock_name(key)
    function = sql.SQL("pg_advisory_lock" if wait else "pg_try_advisory_lock")
    # The function that waits returns nothing.
    held = scalar(connection, sql.SQL("SELECT {}(hashtextextended(%s, 0))").format(function), [name]) is not False
    try:
        yield held
    finally:
        if held:
            # A connection that was lost has taken the lock with it.
            with contextlib.suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def is_locked(connection: Connection, *key: str) -> bool:
    """True if some session holds the advisory lock of that key.

    Args:
        connection: in autocommit mode.
        key: as given to `session_lock`.
    """
    return not scalar(connection, "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [_lock_name(key)])


def _lock_name(key: tuple[str, ...]) -> str:
    return ":".join(("mv_pipeline", *key))


def one_row(
    connection: Connection, query: LiteralString | sql.SQL | sql.Composed, params: Any = None
) -> tuple[Any, ...]:
    """Run a query that gives one row and return it.

    Raises:
        LookupError: there was no row.
    """
    row = connection.execute(query, params).fetchone()
    if row is None:
        raise LookupError("The query gave no row.")
    return row


def scalar(connection: Connection, query: LiteralString | sql.SQL | sql.Composed, params: Any = None) -> Any:
    """Run a query that gives one row of one column and return its value.

    Raises:
        LookupError: there was no row.
    """
    return one_row(connection, query, params)[0]
