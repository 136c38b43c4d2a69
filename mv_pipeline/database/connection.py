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
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

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


def lock_table(connection: Connection, name: str) -> None:
    """Keep all other writers out of a table until the transaction ends; what follows sees all that they committed.

    Only who may change the table can take this lock or stand in its way. It is tried again and again for as long as a
    wait may last, never waited for: whoever writes would have to queue behind it.

    Args:
        connection: in a transaction, in which nothing has been read yet.
        name: the table's.

    Raises:
        psycopg.errors.LockNotAvailable: it wasn't free in all that time.
    """
    tries = Retrying(
        retry=retry_if_exception_type(errors.LockNotAvailable),
        stop=stop_after_delay(load_settings().lock_timeout_seconds),
        wait=wait_random(max=0.2),
        reraise=True,
    )
    for attempt in tries:
        with attempt, connection.transaction():
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE NOWAIT").format(identifier(name)))


def sessions(connection: Connection, purpose: str) -> dict[str, int]:
    """The pipeline's other sessions on this database whose purpose begins so, and their process ids.

    Any role can give itself a name, so only those of roles that may write the log count.
    """
    rows = connection.execute(
        "SELECT substr(application_name, length(%(ours)s) + 1), pid FROM pg_stat_activity "
        "WHERE starts_with(application_name, %(ours)s || %(purpose)s) AND datname = current_database() "
        "AND pid <> pg_backend_pid() "
        "AND has_table_privilege(usesysid, to_regclass('log.view_refresh'), 'INSERT') IS NOT FALSE",
        {"ours": f"{APPLICATION} ", "purpose": purpose},
    )
    return dict(rows.fetchall())


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
