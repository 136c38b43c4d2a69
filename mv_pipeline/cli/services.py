"""`dev` and `serve`: Dagster's daemon and web servers, and the metrics, as child processes, stopped in order.

A server listens on the loopback address only, whatever the environment says; who else may reach it is the
proxy's business.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import FrameType

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import CommandError
from mv_pipeline.database.connection import Connection
from mv_pipeline.migrate.roles import describe_who_migrates
from mv_pipeline.migrate.state import describe_drift, read_drift
from mv_pipeline.operations.logging import relay
from mv_pipeline.settings import HOST, PROJECT_ROOT, Settings

_STOP_S = 15


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


def serve(settings: Settings, services: Sequence[Service]) -> None:
    """Run the services until Ctrl-C or SIGTERM.

    Raises:
        CommandError: a port is taken, or a service ended by itself.
    """
    commands = [_command(settings, service) for service in services]
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is the system's
        asked.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    # Sessions of their own: Ctrl-C reaches only this process, which then stops them in order.
    children = [_start(settings, command) for command in commands]
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


def _start(settings: Settings, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a child; if JSON is asked for, what it and its own children write passes through here."""
    output, errors = (subprocess.PIPE, subprocess.STDOUT) if settings.log_format == "json" else (None, None)
    # In a folder without `.env`: Dagster would put its variables before those of the environment.
    return subprocess.Popen(  # noqa: S603
        command, cwd=settings.dagster_home, start_new_session=True, stdout=output, stderr=errors
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
            return [*web, _free(settings.port, "MV_PIPELINE_PORT"), *dagster]
        case Service.VIEWER:
            return [*web, _free(settings.viewer_port, "MV_PIPELINE_VIEWER_PORT"), "--read-only", *dagster]
        case Service.METRICS:
            _free(settings.metrics_port, "MV_PIPELINE_METRICS_PORT")
            return [sys.executable, "-m", "mv_pipeline.operations.metrics"]


def _free(port: int, variable: str) -> str:
    """The port, if nothing listens on it."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        raise CommandError(f"Port {port} on {HOST} is taken. Stop what uses it, or set {variable}.") from None
    return str(port)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child and the code server that it started."""
    child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
