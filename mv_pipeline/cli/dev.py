"""`dev`: web UI and daemon side by side, stopped together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType

from mv_pipeline.cli.session import CommandError
from mv_pipeline.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
_STOP_S = 15


def serve(settings: Settings) -> int:
    """Run the web UI and the daemon until one of them ends or Ctrl-C is pressed.

    Returns:
        0 after Ctrl-C or SIGTERM, 1 if one of the two ended by itself.

    Raises:
        CommandError: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, settings.port))
        except OSError:
            raise CommandError(
                f"Port {settings.port} on {HOST} is taken. Stop what uses it, or set MV_PIPELINE_PORT."
            ) from None
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    commands = [
        ["dagster_webserver", "-h", HOST, "-p", str(settings.port), "-w", workspace],
        ["dagster._daemon", "run", "-w", workspace],
    ]
    stop = threading.Event()
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is the system's
        asked.set()
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    # Sessions of their own: Ctrl-C reaches only this process, which then stops both in order.
    children = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=PROJECT_ROOT, start_new_session=True)  # noqa: S603
        for command in commands
    ]
    try:
        while not stop.wait(0.5):
            if any(child.poll() is not None for child in children):
                stop.set()
    finally:
        for child in children:
            _stop(child)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if asked.is_set() else 1


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child and the code server that it started."""
    child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_S)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()
