"""One file's way from the inbox to archive or rejected, and that a file is taken once and whole or not at all."""

import contextlib
import hashlib
import mmap
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from subprocess import PIPE
from threading import Event
from zoneinfo import ZoneInfo

import pytest

from mv_pipeline.catalog.csv_kinds import KINDS, find_kind
from mv_pipeline.database.connection import Connection, Database, lock_table
from mv_pipeline.intake import ingest as upload_module
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.settings import Settings
from mv_pipeline_tests.factory import csv_text, drop, line, read_report, take
from mv_pipeline_tests.processes import TIMEOUT_S, wait_for

RECEIVE = "shogun_final_receive"
GOOD = csv_text([line()])
BLANK_LINE = "," * 36

# Code, content, and what the report's first line says: line, header, value.
REJECTIONS: list[tuple[str, str | bytes, tuple[str, str, str]]] = [
    ("not_csv", b"PK\x03\x04\x14\x00\x06\x00", ("", "", "0x50 4b 03 04")),
    ("not_csv", "a,b".encode("utf-16-le"), ("", "", "0x61 00 2c 00")),
    ("not_csv", "a,b\r\n1,2\r\n", ("1", "", "a,b")),
    ("not_csv", GOOD + '"架空"x', ("3", "", "',' expected after '\"'")),
    ("undecodable", GOOD.encode("utf-16"), ("", "", "UTF-16")),
    ("undecodable", GOOD.encode("cp932") + b"\x81\x20", ("3", "", "0x81 20")),
    ("empty", b"", ("", "", "")),
    ("empty", "\r\n　\r\n", ("", "", "")),
    ("no_data_lines", GOOD.splitlines()[0], ("", "", "")),
    ("no_data_lines", GOOD.splitlines()[0] + f"\r\n{BLANK_LINE}\r\n合計{BLANK_LINE}", ("", "", "")),
    ("missing_header", GOOD.replace("正味重量", "重量"), ("1", "正味重量", "")),
    ("duplicated_header", GOOD.replace("荷降業者CD", "業者ＣＤ"), ("1", "業者CD", "")),
    ("ragged_line", GOOD + "2025/12/01,1,2\r\n", ("3", "", "3 ≠ 37")),
    ("cell_too_large", GOOD + '"' + "x" * 131_073, ("3", "", "field larger than field limit (131072)")),
    ("bad_number", csv_text([line(net_weight="12kg")]), ("2", "正味重量", "12kg")),
    ("bad_number", csv_text([line(net_weight="1e9999999")]), ("2", "正味重量", "1e9999999")),
    ("bad_integer", csv_text([line(receive_no="2147483648")]), ("2", "受入番号", "2147483648")),
    ("bad_date", csv_text([line(), line(slip_date="2025/02/30")]), ("3", "伝票日付", "2025/02/30")),
    ("bad_time", csv_text([line(weighing_time_empty="25:00")]), ("2", "計量時間（空車重量）", "25:00")),
    ("wrong_weekday", csv_text([line(slip_date="2025/12/01(火)")]), ("2", "伝票日付", "2025/12/01(火)")),
    ("bad_code", csv_text([line(client_cd="123.0")]), ("2", "取引先CD", "123.0")),
    ("missing_date", csv_text([line(slip_date="　")]), ("2", "伝票日付", "")),
    ("date_out_of_range", csv_text([line(slip_date="2020/12/31")]), ("2", "伝票日付", "2020/12/31")),
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def count(connection: Connection, table: str) -> object:
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def nothing_happened(connection: Connection, settings: Settings) -> bool:
    tables = ("log.upload_file", f"raw.{RECEIVE}", f"stg.{RECEIVE}")
    return (
        not any(count(connection, table) for table in tables)
        and names(settings.rejected_dir) == names(settings.archive_dir) == []
    )


def change_while_loading(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Let something happen to the file between its reading and the commit."""
    load_file = upload_module.load_file

    def load_and_change(*args: object) -> Upload:
        try:
            return load_file(*args)
        finally:
            change()

    monkeypatch.setattr(upload_module, "load_file", load_and_change)


def test_every_code_has_a_rejection_here():
    assert {code for code, _, _ in REJECTIONS} | {"too_large", "newer_upload"} == MESSAGES.keys()


@pytest.mark.parametrize(
    ("code", "content", "first"), REJECTIONS, ids=[f"{number}-{case[0]}" for number, case in enumerate(REJECTIONS)]
)
def test_a_file_with_a_problem_is_rejected_whole_and_the_next_one_loads(
    settings: Settings, connection: Connection, code: str, content: str | bytes, first: tuple[str, str, str]
):
    rejected = take(connection, settings, content, name="受入.csv")

    assert (rejected.status, rejected.file_name, rejected.rows, rejected.days) == ("rejected", "受入.csv", 0, None)
    folder = settings.rejected_dir / RECEIVE
    assert names(folder) == ["受入.csv", "受入.csv.errors.csv"]
    assert (folder / "受入.csv").read_bytes() == (content if isinstance(content, bytes) else content.encode("cp932"))
    assert names(settings.inbox_dir) == names(settings.archive_dir) == []

    *place, reported_code, japanese, english = read_report(folder / "受入.csv.errors.csv")[0]
    assert (tuple(place), reported_code) == (first, code)
    assert re.search("[ぁ-ん]", japanese)
    assert re.fullmatch(r"[ -~]+\.", english)

    query = (
        "SELECT id, file_name, file_type, csv_type, processing_status, row_count, uploaded_by, error_message, "
        "metadata FROM log.upload_file"
    )
    assert connection.execute(query).fetchall() == [
        (
            *(rejected.id, "受入.csv", "FINAL", "receive", "failed", None, "tester", rejected.message),
            {"problems": 1, "codes": {code: 1}, "report": f"{RECEIVE}/受入.csv.errors.csv"},
        )
    ]
    assert rejected.message.endswith(f"[{code}]")
    assert japanese in rejected.message
    assert count(connection, f"raw.{RECEIVE}") == count(connection, f"stg.{RECEIVE}") == 0

    assert take(connection, settings, GOOD, name="受入.csv").status == "loaded"
    assert count(connection, f"stg.{RECEIVE}") == 1


def test_a_file_over_the_limit_is_rejected_without_being_read(settings: Settings, connection: Connection):
    small = settings.model_copy(update={"max_file_mb": 1})
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", GOOD)
    os.truncate(path, 1_000_001)

    upload = take_file(connection, small, find_kind(RECEIVE), path, "tester")

    assert upload.status == "rejected"
    assert names(settings.rejected_dir) == ["a.csv", "a.csv.errors.csv"]
    report = read_report(settings.rejected_dir / RECEIVE / "a.csv.errors.csv")
    assert report[0][:4] == ["", "", "1,000,001 > 1,000,000 bytes", "too_large"]
    query = "SELECT processing_status, file_size_bytes FROM log.upload_file"
    assert connection.execute(query).fetchall() == [("failed", 1_000_001)]


def test_the_limit_is_the_settings_one(settings: Settings, connection: Connection):
    content = GOOD + "\r\n" * 500_000

    assert take(connection, settings.model_copy(update={"max_file_mb": 1}), content).status == "rejected"
    assert take(connection, settings.model_copy(update={"max_file_mb": 2}), content).status == "loaded"


def test_the_size_limit_itself_is_allowed(settings: Settings, connection: Connection):
    content = GOOD.encode("cp932").ljust(1_000_000, b"\n")

    assert take(connection, settings.model_copy(update={"max_file_mb": 1}), content).status == "loaded"


def test_the_log_of_a_rejected_file_has_its_size_and_hash(settings: Settings, connection: Connection):
    content = csv_text([line(net_weight="x")]).encode("cp932")

    take(connection, settings, content)

    assert connection.execute("SELECT file_hash, file_size_bytes, error_message FROM log.upload_file").fetchone() == (
        hashlib.sha256(content).hexdigest(),
        len(content),
        "2行目 正味重量「x」：数値として読めません（整数部は12桁まで）。 [bad_number]",
    )


@pytest.mark.parametrize("content", [b"", b"PK\0\0", b"\x81"], ids=["empty", "binary", "undecodable"])
def test_a_file_that_could_not_be_read_is_logged_with_its_hash_too(settings: Settings, connection, content):
    take(connection, settings, content)

    assert connection.execute("SELECT file_hash FROM log.upload_file").fetchone() == (
        hashlib.sha256(content).hexdigest(),
    )


def test_a_file_that_is_taken_away_after_it_was_loaded_counts_as_loaded(settings, connection, monkeypatch):
    def gone(path, folder):
        raise FileNotFoundError(path)

    monkeypatch.setattr("mv_pipeline.intake.inbox.move_into", gone)

    assert take(connection, settings, GOOD).status == "loaded"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_loaded_file_goes_to_its_kinds_archive_of_the_month(settings: Settings, connection: Connection, kind):
    before = datetime.now(ZoneInfo("Asia/Tokyo"))
    content = csv_text([line(kind)])

    take(connection, settings, content, kind.name)

    (archived,) = (path for path in settings.archive_dir.rglob("*") if path.is_file())
    assert archived.read_bytes() == content.encode("cp932")
    months = {f"{now:%Y-%m}" for now in (before, datetime.now(ZoneInfo("Asia/Tokyo")))}
    assert archived in {settings.archive_dir / kind.name / month / "a.csv" for month in months}
    assert names(settings.inbox_dir) == names(settings.rejected_dir) == []


def test_the_archive_never_overwrites(settings: Settings, connection: Connection):
    contents = [csv_text([line(amount=amount)]) for amount in (1, 2)]

    for content in (*contents, contents[1]):
        take(connection, settings, content)

    archived = {path.name: path.read_bytes().decode("cp932") for path in settings.archive_dir.rglob("*.csv")}
    assert archived == {"a.csv": contents[0], "a-2.csv": contents[1], "a-3.csv": contents[1]}


def test_the_rejected_folder_never_overwrites_and_each_report_names_its_file(
    settings: Settings, connection: Connection
):
    for value in ("x", "y"):
        take(connection, settings, csv_text([line(net_weight=value)]))

    folder = settings.rejected_dir / RECEIVE
    assert names(folder) == ["a-2.csv", "a-2.csv.errors.csv", "a.csv", "a.csv.errors.csv"]
    assert read_report(folder / "a.csv.errors.csv")[0][2] == "x"
    assert read_report(folder / "a-2.csv.errors.csv")[0][2] == "y"


def test_the_log_names_each_files_own_report(settings: Settings, connection: Connection):
    bad = csv_text([line(net_weight="x")])
    for name in ("a.csv", "april.csv", "a.csv"):
        take(connection, settings, bad, name=name)

    rows = connection.execute("SELECT file_name, metadata->>'report' FROM log.upload_file ORDER BY id").fetchall()

    reports = ["a.csv.errors.csv", "april.csv.errors.csv", "a-2.csv.errors.csv"]
    assert rows == [
        (name, f"{RECEIVE}/{report}") for name, report in zip(("a.csv", "april.csv", "a.csv"), reports, strict=True)
    ]
    assert all((settings.rejected_dir / report).is_file() for _, report in rows)


@pytest.mark.parametrize("step", ["write_report", "inbox.move_into"])
def test_a_rejection_that_was_interrupted_has_one_log_row_and_names_a_report_that_exists(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, step: str
):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"mv_pipeline.intake.ingest.{step}", stop)
        with pytest.raises(KeyboardInterrupt):
            take(connection, settings, csv_text([line(net_weight="x")]))

    path = settings.inbox_dir / RECEIVE / "a.csv"
    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester").status == "rejected"
    ((report,),) = connection.execute("SELECT metadata->>'report' FROM log.upload_file").fetchall()
    assert read_report(settings.rejected_dir / report)[0][2] == "x"
    assert (settings.rejected_dir / RECEIVE / "a.csv").is_file()


def test_a_report_left_behind_is_not_overwritten(settings: Settings, connection: Connection):
    folder = settings.rejected_dir / RECEIVE
    folder.mkdir()
    (folder / "a.csv.errors.csv").write_text("kept")

    take(connection, settings, csv_text([line(net_weight="x")]))

    assert names(folder) == ["a.csv", "a.csv-2.errors.csv", "a.csv.errors.csv"]
    assert (folder / "a.csv.errors.csv").read_text() == "kept"


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "受" * 83 + "12.csv"])
def test_the_longest_names_are_archived_and_rejected(settings: Settings, connection: Connection, name: str):
    uploads = [take(connection, settings, [line(amount=amount)], name=name) for amount in (1, 2, "x", "y")]

    assert [(upload.status, upload.file_name) for upload in uploads] == [
        ("loaded", name),
        ("loaded", name),
        ("rejected", name),
        ("rejected", name),
    ]
    assert (len(names(settings.archive_dir)), len(names(settings.rejected_dir))) == (2, 4)
    reports = [path for path in settings.rejected_dir.rglob("*") if path.name.endswith(".errors.csv")]
    assert sorted(read_report(path)[0][2] for path in reports) == ["x", "y"]
    assert connection.execute("SELECT DISTINCT file_name FROM log.upload_file").fetchall() == [(name,)]


@pytest.mark.parametrize("name", ["受入一覧　2025年12月(最終).csv", "㈱髙﨑.CSV", "a'b;--.csv"])
def test_a_name_stays_as_it_is(settings: Settings, connection: Connection, name: str):
    upload = take(connection, settings, GOOD, name=name)

    assert upload.file_name == name
    assert connection.execute("SELECT file_name FROM log.upload_file").fetchall() == [(name,)]
    assert names(settings.archive_dir) == [name]


def test_a_file_that_is_gone_is_not_logged(settings: Settings, connection: Connection):
    path = settings.inbox_dir / RECEIVE / "gone.csv"

    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None
    assert nothing_happened(connection, settings)


@pytest.mark.parametrize("make", ["link", "folder", "pipe"])
def test_what_is_no_regular_file_is_not_opened_logged_or_moved(
    settings: Settings, connection: Connection, tmp_path: Path, make: str
):
    path = settings.inbox_dir / RECEIVE / "a.csv"
    (tmp_path / "real.csv").write_text(GOOD, encoding="cp932")
    {"link": lambda: path.symlink_to(tmp_path / "real.csv"), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[
        make
    ]()

    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None
    assert nothing_happened(connection, settings)
    assert path.lstat()


@pytest.mark.parametrize("content", [GOOD, csv_text([line(net_weight="x")])], ids=["good", "bad"])
@pytest.mark.parametrize("change", ["append", "touch", "replace", "delete"])
def test_a_file_that_changes_while_it_is_read_is_neither_loaded_nor_rejected(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, content: str, change: str
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", content)
    other = drop(settings.inbox_dir, RECEIVE, ".other", content)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    changes: dict[str, Callable[[], object]] = {
        "append": lambda: path.write_text(content + "x", encoding="cp932", newline=""),
        "touch": lambda: os.utime(path, ns=(0, 0)),
        "replace": lambda: other.replace(path),
        "delete": path.unlink,
    }
    with monkeypatch.context() as patch:
        change_while_loading(patch, changes[change])
        assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None

    assert nothing_happened(connection, settings)
    if change != "delete":
        assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is not None


@contextlib.contextmanager
def appending(path: Path) -> Iterator[None]:
    with path.open("ab"):
        yield


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """The handle is closed, the file is still mapped for writing."""
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    with memory:
        yield


@contextlib.contextmanager
def by_another_process(path: Path) -> Iterator[None]:
    with subprocess.Popen(["sh", "-c", 'exec 3>>"$0"; echo open; read line', path], stdin=PIPE, stdout=PIPE) as writer:
        assert writer.stdout.read(4) == b"open"
        yield
        writer.stdin.close()


WRITERS = pytest.mark.parametrize("write", [appending, mapped, by_another_process], ids=lambda write: write.__name__)
linux = pytest.mark.skipif(sys.platform != "linux", reason="no other system says who has a file open")


@linux
@WRITERS
@pytest.mark.parametrize("content", [GOOD, csv_text([line(net_weight="x")])], ids=["good", "bad"])
def test_a_file_that_somebody_has_open_for_writing_is_not_taken(
    settings: Settings, connection: Connection, content: str, write: Callable[[Path], AbstractContextManager[None]]
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", content)
    os.utime(path, (1, 1))

    with write(path):
        assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None
        assert nothing_happened(connection, settings)

    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is not None


@linux
@WRITERS
@pytest.mark.parametrize("content", [GOOD, csv_text([line(net_weight="x")])], ids=["good", "bad"])
def test_a_file_that_somebody_opens_for_writing_while_it_is_read_is_not_taken(
    settings: Settings,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    write: Callable[[Path], AbstractContextManager[None]],
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", content)
    with contextlib.ExitStack() as opened, monkeypatch.context() as patch:
        change_while_loading(patch, lambda: opened.enter_context(write(path)))
        assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None

    assert nothing_happened(connection, settings)


def test_lines_that_are_written_by_a_handle_kept_open_are_all_loaded(settings: Settings, connection: Connection):
    """Header and 100 lines, flushed, then 100 more."""
    lines = csv_text([line(receive_no=number) for number in range(200)]).splitlines(keepends=True)
    path = settings.inbox_dir / RECEIVE / "a.csv"
    with path.open("w", encoding="cp932", newline="") as file:
        file.writelines(lines[:101])
        file.flush()
        if sys.platform == "linux":
            assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None
        file.writelines(lines[101:])

    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester").rows == 200


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_file_of_another_user_is_taken_although_nobody_knows_who_writes(settings: Settings):
    """Without CAP_LEASE the question is refused; that it is asked must not keep the file from being taken."""
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", GOOD)
    path.chmod(0o644)
    ask = (
        "import os, sys; from mv_pipeline.intake.reader import raise_if_open_for_writing as ask; "
        "file = open(sys.argv[1], 'rb'); os.setuid(65534); ask(file); print('taken')"
    )

    with appending(path):
        done = subprocess.run([sys.executable, "-c", ask, path], capture_output=True, text=True)

    assert done.stdout == "taken\n", done.stderr


@linux
def test_whoever_opens_a_file_while_the_system_is_asked_about_it_does_no_harm(tmp_path: Path):
    """The system tells the asking process of it by a signal, which by default ends it."""
    path = tmp_path / "a.csv"
    path.touch()
    # The question is so short that nobody can be sure to come in between: here its end waits for a line.
    ask = """
import fcntl, sys
from mv_pipeline.intake.reader import raise_if_open_for_writing

control = fcntl.fcntl

def slow(file, command, argument):
    if argument == fcntl.F_UNLCK:
        print("asking", flush=True)
        sys.stdin.readline()
    return control(file, command, argument)

fcntl.fcntl = slow
raise_if_open_for_writing(open(sys.argv[1], "rb"))
"""

    with subprocess.Popen([sys.executable, "-c", ask, path], stdin=PIPE, stdout=PIPE) as asking:
        assert asking.stdout.readline() == b"asking\n"
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        asking.stdin.close()

    assert asking.returncode == 0


UNFINISHED = {
    "empty": b"",
    "only a byte order mark": b"\xef\xbb\xbf",
    "only zeros": bytes(5000),
    "zeros at the end": GOOD.encode("cp932")[:300].ljust(len(GOOD.encode("cp932")), b"\0"),
    "zeros in the middle": GOOD.encode("cp932")[:300] + bytes(50) + GOOD.encode("cp932")[350:],
    "one zero": GOOD.encode("cp932") + b"\0",
}


@pytest.mark.parametrize("content", UNFINISHED.values(), ids=UNFINISHED)
def test_a_file_that_may_not_be_finished_is_rejected_later(settings: Settings, connection: Connection, content: bytes):
    waiting = settings.model_copy(update={"unfinished_seconds": 300.0})

    assert take(connection, waiting, content) is None
    assert nothing_happened(connection, settings)
    assert take(connection, waiting, GOOD).status == "loaded"

    path = drop(settings.inbox_dir, RECEIVE, "b.csv", content)
    # It is the last change that counts, whatever time it says that its content is of.
    os.utime(path, (1, 1))
    soon = settings.model_copy(update={"unfinished_seconds": 0.3})
    upload = wait_for("it is rejected", lambda: take_file(connection, soon, find_kind(RECEIVE), path, "tester"))
    assert upload.status == "rejected"
    assert names(settings.rejected_dir) == ["b.csv", "b.csv.errors.csv"]


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04" + bytes(200), "a,b".encode("utf-16"), "a,b".encode("utf-16-le"), b"\xd0\xcf\x11\xe0" + bytes(9)],
)
def test_a_file_that_will_never_be_a_csv_file_is_rejected_at_once(settings: Settings, connection, content: bytes):
    waiting = settings.model_copy(update={"unfinished_seconds": 300.0})

    assert take(connection, waiting, content).status == "rejected"


def test_a_file_that_is_rewritten_in_another_encoding_while_it_is_read_waits_for_the_next_tick(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", GOOD, "utf-8")
    inspect_file = upload_module.inspect_file

    def inspect_and_rewrite(*args: object) -> object:
        facts = inspect_file(*args)
        path.write_bytes(GOOD.encode("cp932"))
        return facts

    with monkeypatch.context() as patch:
        patch.setattr(upload_module, "inspect_file", inspect_and_rewrite)
        assert take_file(connection, settings, find_kind(RECEIVE), path, "tester") is None

    assert nothing_happened(connection, settings)
    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester").status == "loaded"


def test_a_file_is_archived_as_a_duplicate_if_the_process_ended_between_commit_and_move(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(upload_module.inbox, "move_into", stop)
        with pytest.raises(KeyboardInterrupt):
            take(connection, settings, GOOD)
    assert names(settings.inbox_dir) == ["a.csv"]

    again = take_file(connection, settings, find_kind(RECEIVE), settings.inbox_dir / RECEIVE / "a.csv", "tester")

    assert again.status == "duplicate"
    # Nobody has said yet which days came.
    assert again.days == {date(2025, 12, 1): 1}
    assert names(settings.archive_dir) == ["a.csv"]
    assert count(connection, f"stg.{RECEIVE}") == 1


def rewrite(path: Path) -> None:
    """What a restore or another mount does: another inode, other times and rights, the same content."""
    copy = path.with_name(".copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (1, 1))
    copy.chmod(0o600)
    copy.replace(path)


def active(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT net_weight FROM stg.{RECEIVE} WHERE NOT is_deleted").fetchall()


@pytest.mark.parametrize("change", [os.utime, lambda path: path.chmod(0o600), rewrite, lambda path: None])
def test_a_loaded_file_that_could_not_be_moved_is_never_loaded_over_a_newer_one(
    settings: Settings, connection: Connection, change: Callable[[Path], object]
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", csv_text([line(net_weight=1)]))
    obstacle = settings.archive_dir / RECEIVE
    obstacle.touch()
    with pytest.raises(NotADirectoryError):
        take_file(connection, settings, find_kind(RECEIVE), path, "tester")
    obstacle.unlink()
    assert take(connection, settings, [line(net_weight=2)], name="b.csv").status == "loaded"
    change(path)

    again = take_file(connection, settings, find_kind(RECEIVE), path, "tester")

    assert (again.status, active(connection)) == ("duplicate", [(2,)])
    assert count(connection, "log.upload_file") == 2
    assert names(settings.inbox_dir) == []
    assert names(settings.archive_dir) == ["a.csv", "b.csv"]


def test_a_file_in_the_place_of_one_that_could_not_be_moved_is_another_file(settings: Settings, connection: Connection):
    """And once it has been there, the first one's content is a new file too."""
    contents = [csv_text([line(net_weight=weight)]) for weight in (1, 2)]
    obstacle = settings.archive_dir / RECEIVE
    obstacle.touch()
    for content in (*contents, contents[0]):
        with pytest.raises(NotADirectoryError):
            take(connection, settings, content)
    obstacle.unlink()

    path = settings.inbox_dir / RECEIVE / "a.csv"
    assert take_file(connection, settings, find_kind(RECEIVE), path, "tester").status == "duplicate"
    assert active(connection) == [(1,)]
    assert count(connection, "log.upload_file") == 3


def test_the_same_content_under_another_name_is_a_file_of_its_own(settings: Settings, connection: Connection):
    obstacle = settings.archive_dir / RECEIVE
    obstacle.touch()
    with pytest.raises(NotADirectoryError):
        take(connection, settings, [line(net_weight=1)])
    obstacle.unlink()
    take(connection, settings, [line(net_weight=2)], name="b.csv")

    assert take(connection, settings, [line(net_weight=1)], name="c.csv").status == "loaded"
    assert active(connection) == [(1,)]


def test_the_database_knows_where_each_files_upload_lies(settings: Settings, connection: Connection):
    loaded = take(connection, settings, GOOD, name="a\nb.csv")
    rejected = take(connection, settings, csv_text([line(net_weight="x")]), name="c.csv")

    month = f"{datetime.now(ZoneInfo('Asia/Tokyo')):%Y-%m}"
    query = "SELECT upload_file_id, kind, inbox_name, path FROM log.taken_file ORDER BY 1"
    assert connection.execute(query).fetchall() == [
        (loaded.id, RECEIVE, b"a\nb.csv", f"archive/{RECEIVE}/{month}/a\ufffdb.csv"),
        (rejected.id, RECEIVE, b"c.csv", f"rejected/{RECEIVE}/c.csv"),
    ]


def test_a_log_whose_numbers_begin_anew_takes_the_next_file(settings: Settings, connection: Connection):
    connection.execute("TRUNCATE log.upload_file RESTART IDENTITY")
    first = take(connection, settings, GOOD, name="a.csv")
    connection.execute("TRUNCATE log.upload_file RESTART IDENTITY")

    second = take(connection, settings, [line(net_weight=7)], name="b.csv")

    assert (first.id, second.id, second.status) == (1, 1, "loaded")
    rows = connection.execute("SELECT inbox_name, has_changed, path LIKE '%/b.csv' FROM log.taken_file").fetchall()
    assert rows == [(b"b.csv", False, True)]


def test_an_archived_file_that_somebody_moves_back_is_loaded_again_once_its_days_are_replaced(
    settings: Settings, connection: Connection
):
    take(connection, settings, GOOD, name="old.csv")
    take(connection, settings, [line(net_weight=7)], name="new.csv")
    (archived,) = settings.archive_dir.rglob("old.csv")
    archived.rename(settings.inbox_dir / RECEIVE / "old.csv")

    again = take_file(connection, settings, find_kind(RECEIVE), settings.inbox_dir / RECEIVE / "old.csv", "tester")

    assert (again.status, again.rows) == ("loaded", 1)


def test_an_error_of_the_program_leaves_the_file_and_logs_nothing(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    def fail() -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        change_while_loading(patch, fail)
        with pytest.raises(RuntimeError):
            take(connection, settings, GOOD)

    assert names(settings.inbox_dir) == ["a.csv"]
    assert nothing_happened(connection, settings)


def test_the_claim_ends_with_the_file(settings: Settings, connection: Connection):
    take(connection, settings, GOOD)
    take(connection, settings, csv_text([line(net_weight="x")]))

    held = f"pg_locks WHERE locktype = 'advisory' OR relation = 'stg.{RECEIVE}'::regclass"
    assert count(connection, held) == 0


def test_a_second_session_waits_and_finds_the_file_gone(
    settings: Settings, database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    path = drop(settings.inbox_dir, RECEIVE, "a.csv", GOOD)
    load_file, claimed = upload_module.load_file, Event()

    def load_once_another_waits(*args: object) -> Upload:
        claimed.set()
        waiting = "pg_stat_activity WHERE application_name = 'mv_pipeline second' AND state LIKE 'idle in transaction%'"
        wait_for("somebody waits for the claim", lambda: count(connection, waiting))
        return load_file(*args)

    def run(name: str) -> Upload | None:
        with database.connect(name) as session:
            return take_file(session, settings, find_kind(RECEIVE), path, "tester")

    monkeypatch.setattr(upload_module, "load_file", load_once_another_waits)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, "first")
        assert claimed.wait(TIMEOUT_S)
        second = pool.submit(run, "second")

        assert (first.result().status, second.result()) == ("loaded", None)
    assert count(connection, "log.upload_file") == count(connection, f"stg.{RECEIVE}") == 1


def test_a_file_of_one_kind_does_not_wait_for_another_kind(
    settings: Settings, database: Database, connection: Connection
):
    connection.execute("SET statement_timeout = '60s'")
    with database.transaction() as session:
        lock_table(session, "stg.shogun_flash_yard")
        assert take(connection, settings, GOOD).status == "loaded"
