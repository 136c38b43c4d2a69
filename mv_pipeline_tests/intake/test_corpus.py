"""Hostile and broken files: each is loaded right or rejected whole with a reason, alone and all at once."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS, find_kind
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.intake import reader
from mv_pipeline.intake.inbox import prepare_folders, scan
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.intake.rejection import MESSAGES, REPORT_LIMIT
from mv_pipeline.settings import Settings, load_settings
from mv_pipeline_tests.conftest import create_database, drop_database
from mv_pipeline_tests.defs.test_sensors import Ticks
from mv_pipeline_tests.factory import csv_text, drop, line, read_report
from mv_pipeline_tests.intake.corpus import HUGE_BYTES, RECEIVE, Case, corpus

DAY = date(2025, 12, 1)
FIRST_DAY = date(2024, 1, 1)
CASES = corpus()
FORMULA = re.compile(r"[\s\u200b\ufeff]*[-=+@−＝＋－＠﹦﹢﹣﹫]|[\t\r\n]")
SMALL_BYTES = 10_000_000


def put(settings: Settings, case: Case, day: date) -> Path:
    path = settings.inbox_dir / case.kind / case.file_name
    try:
        case.make(path, f"{day:%Y/%m/%d}")
    except PermissionError:
        pytest.skip("this needs more rights here")
    return path


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def counts(connection: Connection, upload_id: int, case: Case) -> tuple[int, int]:
    """How many raw and stg lines an upload has."""
    raw, stg = (
        connection.execute(f"SELECT count(*) FROM {schema}.{case.kind} WHERE upload_file_id = %s", [upload_id])
        for schema in ("raw", "stg")
    )
    return raw.fetchone()[0], stg.fetchone()[0]


def assert_values(connection: Connection, upload_id: int, case: Case, day: date) -> None:
    rows = connection.execute(
        f"SELECT slip_date, {', '.join(case.values)} FROM stg.{case.kind} WHERE upload_file_id = %s "
        "AND NOT is_deleted ORDER BY source_row_no",
        [upload_id],
    ).fetchall()
    assert rows == [(day, *values) for values in zip(*case.values.values(), strict=True)]


def assert_report(path: Path, case: Case) -> None:
    """The report gives exactly the reasons, in Japanese too, and holds nothing that a spreadsheet runs."""
    lines = read_report(path)
    assert 0 < len(lines) <= REPORT_LIMIT
    assert {cells[3] for cells in lines} == set(case.codes)
    for cells in lines:
        assert re.search("[ぁ-ん]", cells[4]), cells
        assert not any(FORMULA.match(cell) for cell in cells), cells


def assert_message(message: str) -> None:
    """A reason in the log is one printable line of Japanese with its code."""
    assert re.search("[ぁ-ん]", message)
    assert re.search(r" \[\w+\]$", message)
    assert message.replace("\u3000", " ").isprintable()


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[Connection]:
    """One for all cases: there are hundreds of them."""
    with Database(url=database_url).connect() as connection:
        yield connection


@pytest.fixture
def settings(connection: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of the case's own, and the database without any upload; lines of earlier ones stay, as in the plant's."""
    for name in [name for name in os.environ if name.startswith("MV_PIPELINE_")]:
        monkeypatch.delenv(name)
    connection.execute("DELETE FROM log.upload_file")
    settings = Settings(home=tmp_path, database_url=database_url, settle_seconds=0, unfinished_seconds=0)
    prepare_folders(settings)
    return settings


@pytest.fixture
def good(settings: Settings, connection: Connection):
    """Take a good file that comes after whatever a test did."""

    def take_good(kind: str) -> Upload:
        path = drop(settings.inbox_dir, kind, "good.csv", csv_text([line(kind, slip_date="2025/12/02")]))
        return take_file(connection, settings, find_kind(kind), path, "tester")

    return take_good


def test_the_corpus_is_large_its_cases_are_distinct_and_every_reason_for_a_rejection_is_among_them(tally):
    outcomes = Counter(case.outcome for case in CASES)
    tally.update({f"bad inputs {outcome}": number for outcome, number in outcomes.items()})

    assert len(CASES) >= 449
    assert min(outcomes.values()) >= 18
    # What has come since a file was loaded is nothing that a file alone could be rejected for.
    assert Counter(code for case in CASES for code in case.codes).keys() == MESSAGES.keys() - {"newer_upload"}
    assert len({case.name for case in CASES}) == len({(case.kind, case.file_name) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if not case.stays], ids=lambda case: case.name)
def test_a_hostile_file_is_loaded_right_or_rejected_whole_and_the_next_one_loads(
    settings: Settings, connection: Connection, good, case: Case
):
    path = put(settings, case, DAY)
    content = path.read_bytes() if path.stat().st_size < SMALL_BYTES else None
    (found,) = scan(settings.inbox_dir).files
    name = case.shown_name or case.file_name

    upload = take_file(connection, settings, find_kind(case.kind), found.path, "tester")

    assert (upload.status, upload.rows, upload.file_name) == (case.outcome, case.lines, name)
    assert counts(connection, upload.id, case) == (case.lines, case.lines)
    assert files(settings.inbox_dir) == []
    query = "SELECT file_name, processing_status, row_count, error_message FROM log.upload_file"
    ((logged_name, status, rows, message),) = connection.execute(query).fetchall()
    assert logged_name == name
    if case.outcome == "loaded":
        assert (status, rows, message) == ("success", case.lines, None)
        assert_values(connection, upload.id, case, DAY)
        (moved,) = files(settings.archive_dir)
        assert files(settings.rejected_dir) == []
    else:
        assert (status, rows) == ("failed", None)
        assert_message(message)
        moved, report = sorted(files(settings.rejected_dir), key=lambda path: path.name.endswith(".errors.csv"))
        assert os.fsencode(report.name).startswith(os.fsencode(name)[:240].decode(errors="ignore").encode())
        assert_report(report, case)
        assert files(settings.archive_dir) == []
    assert moved.name == name
    assert content is None or moved.read_bytes() == content
    assert good(case.kind).rows == 1


def identity(path: Path) -> tuple[int, ...]:
    """What tells an entry from another; following a link counts as reading it, so the time of access doesn't."""
    status = path.lstat()
    return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@pytest.mark.parametrize("case", [case for case in CASES if case.stays], ids=lambda case: case.name)
def test_what_is_no_csv_file_is_never_opened_and_stays(
    settings: Settings, connection: Connection, good, case: Case, monkeypatch: pytest.MonkeyPatch
):
    path = put(settings, case, DAY)
    before = identity(path)
    links = [entry for entry in settings.home.iterdir() if entry.is_file()]

    def fail(*args: object) -> None:
        raise AssertionError("it was opened")

    with monkeypatch.context() as patch:
        patch.setattr("os.open", fail)
        found = scan(settings.inbox_dir)
        taken = (
            None
            if path.is_file() and not path.is_symlink()
            else take_file(connection, settings, find_kind(case.kind), path, "tester")
        )

    assert (found.files, taken) == ([], None)
    assert all(name.isprintable() for name in found.left_alone)
    assert connection.execute("SELECT count(*) FROM log.upload_file").fetchone() == (0,)
    assert good(case.kind).rows == 1
    assert identity(path) == before
    assert [entry for entry in settings.home.iterdir() if entry.is_file()] == links


def test_a_gigabyte_is_rejected_by_its_size_and_not_read(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    (case,) = (case for case in CASES if case.name == "a sparse gigabyte")
    path = put(settings, case, DAY)

    def fail(*args: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(reader, "_blocks", fail)
    monkeypatch.setattr("mv_pipeline.intake.load.CsvReader", fail)
    monkeypatch.setattr("hashlib.file_digest", fail)

    assert path.stat().st_size == HUGE_BYTES
    assert take_file(connection, settings, find_kind(case.kind), path, "tester").status == "rejected"


@pytest.fixture
def ticks(
    server: Settings,
    template: str,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ticks]:
    """The sensor on a home and a database of the test's own, because here views are refreshed too."""
    for name in [name for name in os.environ if name.startswith("MV_PIPELINE_")]:
        monkeypatch.delenv(name)
    url = create_database(server, template)
    settings = Settings(home=tmp_path, database_url=url, settle_seconds=0, unfinished_seconds=0, watch_seconds=0)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("mv_pipeline.defs.sensors._REST_S", 0.0)
    prepare_folders(settings)
    yield Ticks(definitions, instance)
    drop_database(server, url)


def take_all(ticks: Ticks) -> None:
    """Tick and run until nothing is left; a file that says it is of the future needs a second scan."""
    for _ in range(3):
        for request in ticks.tick().run_requests:
            assert ticks.run(request).success
    assert "No CSV file" in ticks.tick().skip_message


def test_the_whole_corpus_at_once_loses_doubles_and_stops_nothing(ticks: Ticks):
    settings = load_settings()
    days = {case.name: FIRST_DAY + timedelta(days=number) for number, case in enumerate(CASES)}
    assert max(days.values()) < DAY
    for case in CASES:
        put(settings, case, days[case.name])
    taken = [case for case in CASES if not case.stays]
    loaded = [case for case in CASES if case.outcome == "loaded"]
    rejected = [case for case in CASES if case.outcome == "rejected"]

    take_all(ticks)
    drop(settings.inbox_dir, RECEIVE, "next.csv", csv_text([line(slip_date=f"{DAY:%Y/%m/%d}")]))
    take_all(ticks)

    left = list(settings.inbox_dir.glob("*/*"))
    assert len(left) == len(CASES) - len(taken)
    archived, rejections = files(settings.archive_dir), files(settings.rejected_dir)
    reports = [path for path in rejections if path.name.endswith(".errors.csv") and path.name != "a.csv.errors.csv"]
    assert (len(archived), len(rejections), len(reports)) == (len(loaded) + 1, 2 * len(rejected), len(rejected))

    with Database().connect() as connection:
        query = "SELECT file_name, processing_status, coalesce(row_count, 0) FROM log.upload_file"
        logged = Counter(connection.execute(query).fetchall())
        status = {"loaded": "success", "rejected": "failed"}
        assert logged == Counter(
            [(case.shown_name or case.file_name, status[case.outcome], case.lines) for case in taken]
            + [("next.csv", "success", 1)]
        )
        expected = {kind.name: Counter[date]() for kind in KINDS}
        for case in loaded:
            expected[case.kind][days[case.name]] += case.lines
        expected[RECEIVE][DAY] += 1
        half_loaded = 0
        for kind in KINDS:
            stg = dict(
                connection.execute(
                    f"SELECT slip_date, count(*) FROM stg.{kind.name} WHERE NOT is_deleted GROUP BY 1"
                ).fetchall()
            )
            assert stg == expected[kind.name]
            for schema in ("raw", "stg"):
                (lines,) = connection.execute(f"SELECT count(*) FROM {schema}.{kind.name}").fetchone()
                assert lines == expected[kind.name].total()
            half_loaded += connection.execute(
                f"SELECT count(*) FROM (SELECT upload_file_id FROM raw.{kind.name} UNION "
                f"SELECT upload_file_id FROM stg.{kind.name}) AS found JOIN log.upload_file AS u "
                "ON u.id = upload_file_id WHERE processing_status <> 'success'"
            ).fetchone()[0]
        kg = {days[case.name]: case.kg for case in loaded if case.kind == RECEIVE} | {DAY: Decimal(100)}
        tons = connection.execute(
            "SELECT ddate, receive_net_ton FROM mart.mv_receive_daily WHERE source_system IS NOT NULL"
        ).fetchall()
    assert dict(tons) == {day: (weight / 1000).quantize(Decimal("0.001"), ROUND_HALF_UP) for day, weight in kg.items()}
    assert half_loaded == 0
    sys.stdout.write(
        f"corpus: {len(CASES)} cases, {len(loaded)} loaded, {len(rejected)} rejected, {len(left)} left alone, "
        f"{half_loaded} half-loaded\n"
    )
