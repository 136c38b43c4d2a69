"""The rivals, each as its users would run it: a full refresh, a bare COPY, dbt.

They live in schemas of their own, `bench` and `bench_dbt`, on the same data as ours.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, scalar

FULL_VIEW = "bench.mv_receive_daily"
DBT_VIEW = "bench_dbt.mv_receive_daily"
OUR_VIEW = "mart.mv_receive_daily"
COPY_TABLE = "bench.cells"

_HERE = Path(__file__).parent
_DBT_PROJECT = _HERE / "dbt"
_DBT_VENV = _HERE / ".venv-dbt"
_COPY_BYTES = 1 << 18


class BenchError(Exception):
    """The rivals can't be compared: they don't compute the same thing."""


class NotInstalledError(Exception):
    """A rival can't be installed here; the message says why."""


# A full refresh


def create_full_view(connection: Connection) -> None:
    """Create, if it is missing, a materialized view with the rows of mv_receive_daily, from staging tables and king."""
    query = (_DBT_PROJECT / "models" / "mv_receive_daily.sql").read_text(encoding="utf-8").partition("}}")[2]
    view = identifier(FULL_VIEW)
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    connection.execute(sql.SQL("CREATE MATERIALIZED VIEW IF NOT EXISTS {} AS {}").format(view, sql.SQL(query)))
    connection.execute(sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS full_day ON {} (ddate)").format(view))
    connection.execute(sql.SQL("CREATE INDEX IF NOT EXISTS full_week ON {} (iso_year, iso_week)").format(view))


def refresh_full_view(connection: Connection, concurrently: bool = True) -> None:
    """Refresh it, which computes all of it."""
    mode = sql.SQL("CONCURRENTLY" if concurrently else "")
    connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {} {}").format(mode, identifier(FULL_VIEW)))


def compare_with_ours(connection: Connection, view: str) -> None:
    """Hold a rival's view against ours, row by row.

    Raises:
        BenchError: they differ, so no time of theirs would mean anything.
    """
    differing = scalar(
        connection,
        sql.SQL(
            "SELECT count(*) FROM ((TABLE {a} EXCEPT ALL TABLE {b}) UNION ALL (TABLE {b} EXCEPT ALL TABLE {a})) AS x"
        ).format(a=identifier(view), b=identifier(OUR_VIEW)),
    )
    rows = scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(view)))
    if differing or not rows:
        raise BenchError(f"{view} has {rows} rows, of which {differing} differ from {OUR_VIEW} or are missing.")


# A bare COPY


def create_copy_table(connection: Connection, kind: FileKind) -> None:
    """Create a table with one text column per cell of a line, without indexes or triggers."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(column.name)) for column in kind.columns)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier(COPY_TABLE), columns))


def copy_file(connection: Connection, path: Path) -> None:
    """Send a file's bytes to the server as they are; PostgreSQL reads CSV and CP932 by itself."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER, ENCODING 'SJIS')").format(identifier(COPY_TABLE))
    with path.open("rb") as file, connection.cursor().copy(statement) as copy:
        while block := file.read(_COPY_BYTES):
            copy.write(block)


# dbt


@dataclass(frozen=True)
class Dbt:
    """dbt in an environment of its own, made from `bench/dbt/requirements.txt` when it is first needed.

    Args:
        executable: the command.
        versions: of dbt-core and its adapter.
    """

    executable: Path
    versions: dict[str, str]

    def run(self, connection: Connection) -> float:
        """Let `dbt run` create or refresh its materialized view in the connection's database.

        Returns:
            The seconds of the model alone, as dbt itself measured them.

        Raises:
            BenchError: the run failed.
        """
        with TemporaryDirectory(prefix="mvb-dbt-") as folder:
            done = subprocess.run(  # noqa: S603  # our own environment's command
                [
                    str(self.executable),
                    "--no-version-check",
                    "run",
                    "--quiet",
                    *("--project-dir", str(_DBT_PROJECT), "--profiles-dir", str(_DBT_PROJECT)),
                    *("--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"),
                ],
                env={
                    **os.environ,
                    "BENCH_PGHOST": connection.info.host,
                    "BENCH_PGDATABASE": connection.info.dbname,
                    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                },
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(f"dbt run failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
            results = json.loads((Path(folder) / "target" / "run_results.json").read_text(encoding="utf-8"))
        return float(results["results"][0]["execution_time"])


def install_dbt() -> Dbt:
    """Make the environment if it is missing or its requirements have changed.

    Raises:
        NotInstalledError: there is no uv, or a package can't be had.
    """
    requirements = (_DBT_PROJECT / "requirements.txt").read_text(encoding="utf-8")
    stamp = _DBT_VENV / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != requirements:
        uv = _find_uv()
        for command in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(_DBT_VENV)],
            ["pip", "install", "--quiet", "--python", str(_DBT_VENV), "-r", str(_DBT_PROJECT / "requirements.txt")],
        ):
            done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise NotInstalledError(f"uv {command[0]} failed: {done.stderr.strip()[-300:]}")
        stamp.write_text(requirements, encoding="utf-8")
    pins = [line.partition("==") for line in requirements.splitlines() if not line.startswith("#")]
    return Dbt(_DBT_VENV / "bin" / "dbt", {name: version for name, _, version in pins})


def _find_uv() -> str:
    own = Path(sys.prefix) / "uv" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        raise NotInstalledError("there is no uv to install it with")
    return uv
