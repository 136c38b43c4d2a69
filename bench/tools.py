"""dbt and SQLMesh: each in an environment of its own, run by its real command on a copy of its small project here."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.rivals import HERE, BenchError
from mv_pipeline.database.connection import Connection

# Below our own environment, so that it goes with it.
_VENVS = Path(sys.prefix) / "bench"
_LOGGED = re.compile(r"^\S+ \S+ \S+ \[(\d+)\] LOG:  duration: (\S+) ms  statement: ", re.MULTILINE)
_COMMENT = re.compile(r"\A\s*/\*.*?\*/\s*", re.DOTALL)


@dataclass(frozen=True)
class Tool:
    """A rival with a command.

    Args:
        name: of the command, of its project's folder here and of its environment.
        versions: of its packages.
        missing: why it can't be installed here; empty: it is installed.
    """

    name: str
    versions: dict[str, str]
    missing: str = ""

    def run(self, connection: Connection, model: str, *arguments: str) -> float:
        """Run the command on the connection's database, where its caches stay from call to call.

        Args:
            connection: to the embedded server, whose log is read.
            model: what is to be brought up to date.
            arguments: of the command.

        Returns:
            The seconds that the server spent on the model's rows, commit included; neither the tool's own state nor its
            questions about the catalogue are among them.

        Raises:
            BenchError: the command failed.
        """
        server = Path(connection.info.host)
        project = server.parent / self.name / connection.info.dbname
        if not project.exists():
            shutil.copytree(HERE / self.name, project)
        log = server / "log"
        before = log.stat().st_size
        done = subprocess.run(  # noqa: S603  # our own environment's command
            [_VENVS / self.name / "bin" / self.name, *arguments],
            cwd=project,
            env={
                **os.environ,
                "BENCH_PGHOST": str(server),
                "BENCH_PGDATABASE": connection.info.dbname,
                "PGOPTIONS": "-c log_min_duration_statement=0",
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{self.name} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        seconds = _seconds_on(model, log.read_bytes()[before:].decode())
        if not seconds:
            raise BenchError(f"{self.name} did nothing: {done.stdout[-2000:]}")
        return seconds


def install(name: str) -> Tool:
    """Make a tool's environment if it is missing or its requirements have changed."""
    requirements = (HERE / name / "requirements.txt").read_text(encoding="utf-8")
    pins = [line.partition("==") for line in requirements.splitlines() if not line.startswith("#")]
    versions = {package: version for package, _, version in pins}
    venv = _VENVS / name
    stamp = venv / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == requirements:
        return Tool(name, versions)
    own = Path(sys.prefix) / "uv" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        return Tool(name, {}, "not installed: there is no uv to install it with")
    for command in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(venv)],
        ["pip", "install", "--quiet", "--python", str(venv), "-r", str(HERE / name / "requirements.txt")],
    ):
        done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            return Tool(name, {}, f"not installed: uv {command[0]} failed: {done.stderr.strip()[-300:]}")
    stamp.write_text(requirements, encoding="utf-8")
    return Tool(name, versions)


def _seconds_on(model: str, log: str) -> float:
    """Add up what the log says of the statements that write a model's rows, and of the commits right after them."""
    writes = re.compile(rf"(create|delete from|insert into|refresh)\b[^(]*{model}", re.IGNORECASE)
    _, *parts = _LOGGED.split(log)
    milliseconds = 0.0
    writers: set[str] = set()
    for process, duration, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        statement = _COMMENT.sub("", rest).lstrip()
        if writes.match(statement):
            writers.add(process)
        elif not (process in writers and statement.startswith("COMMIT")):
            continue
        else:
            writers.remove(process)
        milliseconds += float(duration)
    return milliseconds / 1000
