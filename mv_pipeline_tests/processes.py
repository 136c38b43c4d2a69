"""What the tests with processes of their own share: ports, patience, and where a process listens."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

PATIENCE_S = 180
Found = TypeVar("Found")


def wait_for(what: str, look: Callable[[], Found | None]) -> Found:
    """Look again and again until there is something; fail loudly after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: nothing after {PATIENCE_S} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Address and port of every TCP socket on which a process or one of its descendants takes connections."""
    parent = psutil.Process(pid)
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in [parent, *parent.children(recursive=True)]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
