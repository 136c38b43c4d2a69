"""The plant of a soak: a home, an embedded server, the daemon as a service manager keeps it, and its processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg

from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.processes import COMMAND
from mv_pipeline_tests.soak.books import Books

_STOP_S = 60
_RESTART_S = 2


class Plant:
    """A home whose daemon is started again whenever it ends, as systemd does."""

    def __init__(self, settings: Settings, books: Books) -> None:
        self.settings = settings
        self.books = books
        self.url = settings.resolved_database_url()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MV_PIPELINE", "DAGSTER"))},
            **settings.environment(),
            # The embedded server belongs to this program, which holds it.
            "MV_PIPELINE_DATABASE_URL": self.url,
        }
        self.log = settings.home.parent / "daemon.log"
        self._stopping = threading.Event()

    def connect(self, name: str) -> psycopg.Connection:
        """A connection as somebody else's program opens it."""
        return psycopg.connect(self.url, autocommit=True, application_name=name)

    def dagster(self) -> psycopg.Connection:
        return psycopg.connect(self.settings.resolved_dagster_url(), autocommit=True, application_name="soak")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the pipeline to its end."""
        return subprocess.run([COMMAND, *arguments], env=self.environment, capture_output=True, text=True)

    def launch(self, job: str) -> None:
        """Let the daemon's code server run a job, as the page of the job does."""
        script = str(Path(sys.executable).with_name("dagster"))
        workspace = str(PROJECT_ROOT / "workspace.yaml")
        done = subprocess.run(
            [script, "job", "launch", "-w", workspace, "-j", job, "-l", "mv_pipeline"],
            env=self.environment,
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
        )
        self.books.count(f"{job} launched" if done.returncode == 0 else f"{job} could not be launched")

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        """Keep the daemon running."""
        keeper = threading.Thread(target=self._keep_daemon)
        keeper.start()
        try:
            yield
        finally:
            self._stopping.set()
            keeper.join()

    def _keep_daemon(self) -> None:
        while not self._stopping.is_set():
            with self.log.open("ab") as file:
                process = subprocess.Popen(
                    [COMMAND, "serve", "daemon"],
                    env=self.environment,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            self.books.count("daemon starts")
            while process.poll() is None and not self._stopping.wait(0.2):
                pass
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(_STOP_S)
            self._stopping.wait(_RESTART_S)

    def processes(self, *words: str) -> list[psutil.Process]:
        """The processes of this home whose command line holds all these words; the newest first."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if (
                    all(word in line for word in words)
                    and process.environ().get("MV_PIPELINE_HOME") == str(self.settings.home)
                    and process.pid != os.getpid()
                ):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time(), reverse=True)

    def workers(self) -> list[psutil.Process]:
        """The processes of runs: children of a code server."""
        return [process for process in self.processes("spawn_main") if "api" in " ".join(_parents_command(process))]

    def backend(self) -> int | None:
        """One of the server's processes that work for the pipeline, if there is any; one that does something first."""
        with self.connect("soak") as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'mv_pipeline%' "
                "AND backend_type = 'client backend' ORDER BY state = 'active' DESC, random() LIMIT 1"
            ).fetchone()
        return row[0] if row else None

    def waiting_files(self) -> list[Path]:
        return [path for path in self.settings.inbox_dir.rglob("*") if path.is_file()]


def _parents_command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        # A code server that was killed has left its runs to the system's first process.
        return parent.cmdline() if parent and parent.pid != 1 else ["api"]
    return []


def wait_until(holds, timeout_s: float, every_s: float = 0.5) -> bool:
    """Poll until it holds; False if it doesn't within the time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
