"""What the tests with processes of their own share: ports, waiting, where a process listens, and a real daemon."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mv_pipeline.settings import Settings

COMMAND = str(Path(sys.executable).with_name("mv-pipeline"))
TIMEOUT_S = 180
Found = TypeVar("Found")


def wait_for(what: str, find: Callable[[], Found | None]) -> Found:
    """Poll until there is something; fail loudly after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: nothing after {TIMEOUT_S} s")


def run_command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `mv-pipeline` to its end, in this process's environment without Dagster's own variables.

    Args:
        arguments: the command and what follows it.
        variables: more of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)], env={**environment, **variables}, capture_output=True, text=True
    )


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


@dataclass
class Dev:
    """`mv-pipeline dev` at work.

    Args:
        settings: of its home.
        process: the command.
        log: where it writes to.
    """

    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    def graphql(self, query: str) -> Any:
        """Ask the web server; None while it doesn't answer yet."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.settings.port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return None

    def runs(self, job: str, *statuses: str) -> list[dict[str, Any]]:
        """A job's runs with one of the statuses, or all of them, the newest first.

        Runs of other jobs come when their schedules want it, so a test asks for those of the job that it is about.
        """
        answer = self.graphql("{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }")
        found = answer["runsOrError"]["results"] if answer else []
        return [run for run in found if run["jobName"] == job and (not statuses or run["status"] in statuses)]

    def family(self) -> list[psutil.Process]:
        """The command and every process that it or its children started; the embedded server isn't among them."""
        parent = psutil.Process(self.process.pid)
        return [parent, *(child for child in parent.children(recursive=True) if child.name() != "postgres")]


@contextlib.contextmanager
def running_dev(
    settings: Settings, log: Path, command: Sequence[str] = (COMMAND, "dev"), **variables: str
) -> Iterator[Dev]:
    """Run `mv-pipeline dev` in a home, and stop it by Ctrl-C if it still runs at the end.

    Args:
        settings: of its home.
        log: where it writes to.
        command: how it is called.
        variables: more of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MV_PIPELINE", "DAGSTER"))}
    environment |= {"MV_PIPELINE_HOME": str(settings.home), "MV_PIPELINE_PORT": str(settings.port), **variables}
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    dev = Dev(settings, process, log)
    try:
        wait_for("the UI answers", lambda: dev.graphql("{ version }"))
        yield dev
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)
