"""`dev` and `serve`: Dagster's daemon and web servers, and the metrics, as child processes, stopped in order.

A server listens on the loopback address only, whatever the environment says; who else may reach it is the
proxy's business. A child never outlives this process for long, and a home has one daemon.
"""

import contextlib
import ctypes
import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import CommandError
from mv_pipeline.database.connection import Connection
from mv_pipeline.migrate.roles import describe_who_migrates
from mv_pipeline.migrate.state import describe_drift, read_drift
from mv_pipeline.operations.logging import configure_logs, relay
from mv_pipeline.settings import HOST, PROJECT_ROOT, Settings

_STOP_S = 15
# PR_SET_PDEATHSIG; where no system knows it, the home's lock tells of the orphan.
_END_WITH_PARENT = partial(ctypes.CDLL(None).prctl, 1, signal.SIGKILL) if sys.platform == "linux" else None


def check_migrated(connection: Connection, catalog: Catalog) -> None:
    """Check that there is no definition drift, for a role that can't migrate.

    Raises:
        CommandError: there is.
    """
    if drift := read_drift(connection, catalog.relations.values(), hashes_only=True):
        raise CommandError(f"{describe_drift(drift)}. {describe_who_migrates(connection)}")


class Service(StrEnum):
    """What can be run on its own; `viewer` is a web server that refuses every change."""

    DAEMON = "daemon"
    WEB = "web"
    VIEWER = "viewer"
    METRICS = "metrics"


_PORTS = {Service.WEB: "port", Service.VIEWER: "viewer_port", Service.METRICS: "metrics_port"}


@contextlib.contextmanager
def reserved(settings: Settings, services: Sequence[Service]) -> Iterator[tuple[int, ...]]:
    """Make sure that the services can be started, before anything else is; gives the files that they are to keep open.

    The home's lock belongs to the daemon's process too: as long as that lives, however its parent ended, there is no
    other.

    Raises:
        CommandError: a port is taken, or another daemon works in this home; it says who.
    """
    # A refusal is an entry of the log where that is JSON.
    configure_logs(settings)
    for name in (_PORTS[service] for service in services if service in _PORTS):
        _check_free(getattr(settings, name), f"MV_PIPELINE_{name.upper()}")
    if Service.DAEMON not in services:
        yield ()
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "daemon.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = f"{lock.read()} or what it has left running"
            raise CommandError(f"{settings.home} has a daemon: {holder}. Stop it, or set MV_PIPELINE_HOME.") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} ({shlex.join(sys.argv)})")
        lock.flush()
        yield (lock.fileno(),)


def serve(settings: Settings, services: Sequence[Service], keep_open: Sequence[int]) -> None:
    """Run the services until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        keep_open: of `reserved`.

    Raises:
        CommandError: a service ended by itself.
    """
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is the system's
        asked.set()

    ends = [signal.SIGINT, signal.SIGTERM]
    # What nohup ignores stays so. A shell's background job ignores SIGINT as well, but who sends one means it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in ends}
    # Sessions of their own: Ctrl-C reaches only this process, which then stops them in order.
    children = [
        _start(settings, _command(settings, service), keep_open if service is Service.DAEMON else ())
        for service in services
    ]
    relays = [threading.Thread(target=relay, args=(c.stdout, sys.stdout), daemon=True) for c in children if c.stdout]
    for thread in relays:
        thread.start()
    try:
        while not asked.wait(0.5) and all(child.poll() is None for child in children):
            pass
    finally:
        for child in children:
            _stop(child)
        for thread in relays:
            thread.join(_STOP_S)
        for number, handler in before.items():
            signal.signal(number, handler)
    if not asked.is_set():
        raise CommandError(f"The {' or the '.join(services)} ended by itself; see its last lines above.")


def _start(settings: Settings, command: list[str], keep_open: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a child; if JSON is asked for, what it and its own children write passes through here."""
    output, errors = (subprocess.PIPE, subprocess.STDOUT) if settings.log_format == "json" else (None, None)
    # In a folder without `.env`: Dagster would put its variables before those of the environment.
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=settings.dagster_home,
        start_new_session=True,
        stdout=output,
        stderr=errors,
        pass_fds=keep_open,
        preexec_fn=_END_WITH_PARENT,
    )


def _command(settings: Settings, service: Service) -> list[str]:
    dagster = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    # The scripts of Dagster are installed where this Python is; the environment may find others first.
    scripts = Path(sys.executable).parent
    web = [str(scripts / "dagster-webserver"), "-h", HOST, "-p"]
    match service:
        case Service.DAEMON:
            return [str(scripts / "dagster-daemon"), "run", *dagster]
        case Service.WEB:
            return [*web, str(settings.port), *dagster]
        case Service.VIEWER:
            return [*web, str(settings.viewer_port), "--read-only", *dagster]
        case Service.METRICS:
            return [sys.executable, "-m", "mv_pipeline.operations.metrics"]


def _check_free(port: int, variable: str) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        raise CommandError(f"Port {port} on {HOST} is taken. Stop what uses it, or set {variable}.") from None


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child and the code server that it started."""
    child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
