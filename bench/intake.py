"""Section `intake`: a large file into raw, stg and log, or rejected, and the memory that a huge one takes."""

import subprocess
import sys
from pathlib import Path

from bench import data, old_way, ours, rivals
from bench.report import (
    COPY,
    GOOD_AMONG_MANY,
    INTAKE,
    MEMORY,
    OLD_INTAKE,
    OURS,
    REJECTED,
    REPLACE,
    SILENT,
)
from bench.stage import RECEIVE_KIND, Stage, stopwatch
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.intake.ingest import take_file

SECTION = "Intake"
_MAX_FILE_MB = 10_000
_DATABASE = "intake"
_EARLIER_UPLOADS = 3
_BAD_SHARE = 10


def run(stage: Stage) -> None:
    """Measure intake and memory on a database of their own."""
    database = stage.create_database(_DATABASE)
    with database.connect() as connection:
        _measure_time(stage, database, connection)
        _empty(connection)
        _measure_rejection(stage, connection)
        _empty(connection)
    _measure_memory(stage, database)
    stage.drop_database(_DATABASE)


def _measure_time(stage: Stage, database: Database, connection: Connection) -> None:
    kind = find_kind(RECEIVE_KIND)
    lines, old_lines = stage.options.file_lines, stage.options.old_lines
    rivals.create_copy_table(connection, kind)
    old_way.create_tables(connection, kind)
    times: dict[str, list[float]] = {INTAKE: [], SILENT: [], REPLACE: [], COPY: []}
    size = 0
    for number in range(stage.options.rounds):
        stage.say(f"intake of {lines:,} lines, round {number + 1}")
        _empty(connection)
        path = _write_file(stage, "first.csv", lines, 1)
        with data.silent_triggers(connection, f"stg.{RECEIVE_KIND}"), stopwatch(times[SILENT]):
            ours.take(stage, connection, path)
        _empty(connection)
        path = _write_file(stage, "first.csv", lines, 1)
        size = path.stat().st_size
        with stopwatch(times[COPY]):
            rivals.copy_file(connection, path)
        with stopwatch(times[INTAKE]):
            ours.take(stage, connection, path)
        path = _write_file(stage, "second.csv", lines, 2)
        with stopwatch(times[REPLACE]):
            ours.take(stage, connection, path)
    stage.results.add(SECTION, INTAKE, OURS, times[INTAKE], size=lines, note=f"{size / 1e6:.0f} MB")
    stage.results.add(SECTION, INTAKE, COPY, times[COPY], size=lines)
    stage.results.add(SECTION, SILENT, OURS, times[SILENT], size=lines)
    stage.results.add(SECTION, REPLACE, OURS, times[REPLACE], size=lines, note="earlier lines soft-deleted")

    stage.say(f"intake of {old_lines:,} lines, the old way")
    engine = old_way.engine_for(database.url)
    same: list[float] = []
    old: list[float] = []
    for _ in range(stage.options.slow_rounds):
        _empty(connection)
        path = _write_file(stage, "third.csv", old_lines, 3)
        with stopwatch(same):
            ours.take(stage, connection, path)
    path = _write_file(stage, "third.csv", old_lines, 3)
    with stopwatch(old):
        old_way.take(engine, kind, path)
    path.unlink()
    _compare(connection)
    stage.results.add(SECTION, INTAKE, OURS, same, size=old_lines)
    stage.results.add(SECTION, INTAKE, OLD_INTAKE, old, size=old_lines)


def _measure_rejection(stage: Stage, connection: Connection) -> None:
    """Take a file with a bad cell in every tenth line, and the same file without them, after others.

    Nothing is known of the rows of a transaction that is still going on, and the planner judges them by the others.
    """
    lines = stage.options.file_lines
    for number in range(_EARLIER_UPLOADS):
        ours.take(stage, connection, _write_file(stage, "earlier.csv", lines // 10, 10 + number))
    connection.execute("VACUUM (ANALYZE)")
    good: list[float] = []
    rejected: list[float] = []
    for number in range(stage.options.slow_rounds):
        stage.say(f"rejection of {lines:,} lines, round {number + 1}")
        path = _write_file(stage, "good.csv", lines, 20 + number)
        with stopwatch(good):
            ours.take(stage, connection, path)
        path = _write_file(stage, "bad.csv", lines, 20 + number)
        _spoil(path)
        with stopwatch(rejected):
            upload = take_file(connection, stage.settings, find_kind(RECEIVE_KIND), path, "bench")
        if upload is None or upload.status != "rejected":
            raise rivals.BenchError(f"{path.name} wasn't rejected: {upload}")
    stage.results.add(SECTION, GOOD_AMONG_MANY, OURS, good, size=lines)
    stage.results.add(
        SECTION, REJECTED, OURS, rejected, size=lines, note=f"a slip date that there isn't in every {_BAD_SHARE}th line"
    )


def _spoil(path: Path) -> None:
    """Give every tenth line of a receive file a slip date that there isn't."""
    header, *lines = path.read_text(encoding="cp932").splitlines()
    lines[::_BAD_SHARE] = [f"{line[:5]}02/30{line[10:]}" for line in lines[::_BAD_SHARE]]
    path.write_text("\r\n".join([header, *lines, ""]), encoding="cp932", newline="")


def _measure_memory(stage: Stage, database: Database) -> None:
    lines = stage.options.memory_lines
    stage.say(f"memory of an intake of {lines:,} lines")
    path = _write_file(stage, "huge.csv", lines, 3)
    size = path.stat().st_size
    settings = stage.settings.model_copy(update={"database_url": database.url, "max_file_mb": _MAX_FILE_MB})
    done = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "bench.peak", str(path)],
        env=settings.environment(),
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise rivals.BenchError(f"The intake of {path.name} failed: {done.stderr[-2000:]}")
    peak = float(done.stdout.split()[-1])
    stage.results.add(SECTION, MEMORY, OURS, [peak], size=lines, unit="bytes", note=f"{size / 1e6:.0f} MB")


def _write_file(stage: Stage, name: str, lines: int, seed: int) -> Path:
    """Write a file of that many lines, spread over days as real ones are, into the inbox."""
    days = data.history_days()[: -(-lines // data.LINES_PER_DAY)]
    path = stage.settings.inbox_dir / RECEIVE_KIND / name
    return data.write_receive_file(path, days, -(-lines // len(days)), seed, lines)


def _empty(connection: Connection) -> None:
    connection.execute(
        f"TRUNCATE raw.{RECEIVE_KIND}, stg.{RECEIVE_KIND}, log.upload_file, log.change_note, {rivals.COPY_TABLE}"
    )


def _compare(connection: Connection) -> None:
    """See that the old way loaded what we did, so that its time means something."""
    row = connection.execute(
        f"SELECT (SELECT (count(*), sum(net_weight), sum(amount)) FROM stg.v_active_{RECEIVE_KIND})::text, "
        f"(SELECT (count(*), sum(net_weight), sum(amount)) FROM {old_way.STG})::text"
    ).fetchone()
    if row is None or row[0] != row[1]:
        raise rivals.BenchError(f"The old way loaded something else: {row}")
