"""Loading one file: log row, raw lines, stg lines and the soft deletion of what they replace, in one transaction.

Moving files is not done here; see `ingest`.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from io import BufferedReader
from pathlib import Path

from psycopg import sql
from psycopg.types.json import Jsonb

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.intake import cells
from mv_pipeline.intake.inbox import printable_name
from mv_pipeline.intake.reader import CsvReader
from mv_pipeline.intake.rejection import REPORT_LIMIT, VALUE_LIMIT, Problem, RejectedFileError
from mv_pipeline.intake.upload_log import UPLOADS
from mv_pipeline.settings import load_settings


@dataclass(frozen=True)
class Upload:
    """What became of one file.

    Args:
        id: its row in log.upload_file.
        file_name: its printable name in the inbox.
        status: loaded, duplicate (its rows are the active ones already) or rejected.
        rows: data lines loaded.
        days: data lines by slip date.
        counts: as the reader's.
        message: the reason of a rejection, in Japanese.
    """

    id: int
    file_name: str
    status: str
    rows: int = 0
    days: dict[date, int] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True)
class IncomingFile:
    """What is known of a file before its content is judged.

    Args:
        kind: of the folder in which it was dropped.
        name: its printable name.
        size: bytes.
        sha256: in hex; empty for a file that is too large to be read.
        inbox_name: its name in the inbox, byte for byte.
        earlier: the upload that it was loaded or rejected as before somebody wrote on.
    """

    kind: FileKind
    name: str
    uploaded_by: str
    size: int
    sha256: str
    inbox_name: bytes
    earlier: int | None = None


def inspect_file(opened: BufferedReader, kind: FileKind, path: Path, uploaded_by: str, max_bytes: int) -> IncomingFile:
    """Take an open file's size and hash; one of more than `max_bytes` is not read."""
    size = os.fstat(opened.fileno()).st_size
    sha256 = "" if size > max_bytes else hashlib.file_digest(opened, "sha256").hexdigest()
    return IncomingFile(kind, printable_name(path.name), uploaded_by, size, sha256, os.fsencode(path.name))


def load_file(connection: Connection, file: IncomingFile, opened: BufferedReader) -> Upload:
    """Load a file in the caller's transaction.

    Raises:
        RejectedFileError: something in the file is wrong; the caller rolls back.
    """
    started = time.perf_counter()
    kind = file.kind
    original = _active_upload(connection, file)
    if original is not None:
        upload_id = log_upload(connection, file, "success", {"duplicate_of": original}, row_count=0)
        return Upload(upload_id, file.name, "duplicate")
    reader = CsvReader(opened, kind)
    upload_id = log_upload(connection, file, "processing", {})
    # No plan may count on the rows that are inserted now being few: nothing is known of them before the commit.
    connection.execute("SET LOCAL enable_nestloop = off")
    _load_lines(connection, kind, reader, upload_id)
    _raise_problems(connection, kind, reader, upload_id)
    days = _count_days(connection, kind, upload_id)
    if file.earlier:
        query = read_query(__file__, "replace_earlier").format(stg=identifier(f"stg.{kind.name}"))
        newer = scalar(connection, query, {"id": upload_id, "earlier": file.earlier, "days": list(days)})
        if newer:
            raise RejectedFileError([Problem("newer_upload", value=f"upload {newer}")])
    shrunk = replace_days(connection, kind, upload_id)
    metadata = {
        "lines": reader.lines,
        **reader.counts,
        "net_weight_kg": str(reader.sums.get("net_weight", 0)),
        "amount_yen": str(reader.sums.get("amount", 0)),
        "first_day": min(days).isoformat(),
        "last_day": max(days).isoformat(),
        "encoding": reader.encoding,
        "unknown_headers": reader.unknown_headers,
        "seconds": round(time.perf_counter() - started, 6),
        **({"shrunk": shrunk} if shrunk else {}),
    }
    rows = len(reader.line_numbers)
    connection.execute(
        "UPDATE log.upload_file SET processing_status = 'success', row_count = %s, metadata = metadata || %s "
        "WHERE id = %s",
        [rows, Jsonb(metadata), upload_id],
    )
    return Upload(upload_id, file.name, "loaded", rows, days, reader.counts)


def log_upload(
    connection: Connection, file: IncomingFile, status: str, metadata: Mapping[str, object], **columns: object
) -> int:
    """Insert the log row of a file, note where the file lies, and return the row's id."""
    row = {
        "file_name": file.name,
        "file_hash": file.sha256,
        "file_type": file.kind.version.upper(),
        "csv_type": file.kind.list.csv_type,
        "file_size_bytes": file.size,
        "uploaded_by": file.uploaded_by,
        "processing_status": status,
        "metadata": Jsonb({"replaces": file.earlier, **metadata} if file.earlier else metadata),
        **columns,
    }
    statement = read_query(__file__, "log_upload").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, row)), values=sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    return int(scalar(connection, statement, {**row, "kind": file.kind.name, "inbox_name": file.inbox_name}))


def find_left_behind(connection: Connection, file: IncomingFile) -> tuple[IncomingFile, Upload | None]:
    """A file as the log knows it; with what became of it, if it was taken before and only couldn't be moved."""
    params = {"kind": file.kind.name, "inbox_name": file.inbox_name, "sha256": file.sha256, "size": file.size}
    row = connection.execute(read_query(__file__, "left_behind"), params).fetchone()
    if row is None:
        return file, None
    upload_id, name, status, message, is_same = row
    if not is_same:
        return replace(file, name=name, earlier=upload_id), None
    # The run that loaded it may have died before it could say which days it brought.
    return file, Upload(upload_id, name, status, days=_count_days(connection, file.kind, upload_id), message=message)


def _active_upload(connection: Connection, file: IncomingFile) -> int | None:
    """The newest upload of the same content whose rows are all still active and as they were loaded, if any.

    Rows that somebody changed by hand don't count as its content any more, so that dropping a file again repairs them.
    """
    query = read_query(__file__, "active_upload").format(uploads=UPLOADS, stg=identifier(f"stg.{file.kind.name}"))
    params = {"sha256": file.sha256, "kind": file.kind.name}
    upload_id: int | None = scalar(connection, query, params)
    return upload_id


def _load_lines(connection: Connection, kind: FileKind, reader: CsvReader, upload_id: int) -> None:
    """Copy the lines into raw and derive their stg rows, block by block."""
    raw, stg = identifier(f"raw.{kind.name}"), identifier(f"stg.{kind.name}")
    columns = [*(column.name for column in reader.columns), "upload_file_id", "source_row_no"]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    # The server types one block while Python reads the next; only one of the two threads uses the connection at a time.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert") as server:
        typed: Future[object] = server.submit(lambda: None)
        for block in reader.blocks(upload_id):
            typed.result()
            with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(raw, names)) as copy:
                copy.write(block.text)
            lines = sql.SQL("{} WHERE upload_file_id = {} AND source_row_no BETWEEN {} AND {}").format(
                raw, upload_id, block.rows[0], block.rows[-1]
            )
            select = cells.select_typed(reader.columns, lines, block.plain)
            typed = server.submit(connection.execute, sql.SQL("INSERT INTO {} ({}) {}").format(stg, names, select))
        typed.result()


def _raise_problems(connection: Connection, kind: FileKind, reader: CsvReader, upload_id: int) -> None:
    """Find the cells that hold something and became no value, and the slip dates outside of the calendar.

    Raises:
        RejectedFileError: there are such cells, or the reader has found problems.
    """
    # A cast reads plain cells, and raises where it can't. Whatever else became no value is compared with its cell.
    plain = reader.plain - {"slip_date"}
    judged = [column for column in reader.columns if column.type in cells.BAD_VALUE and column.name not in plain]
    codes = [
        sql.SQL("CASE WHEN {} IS NULL AND {} IS NOT NULL THEN {} END").format(
            sql.Identifier("s", column.name), cell, sql.SQL(cells.BAD_VALUE[column.type]).format(x=cell)
        )
        for column in judged
        for cell in [cells.trimmed(sql.Identifier("r", column.name))]
    ]
    rows = connection.execute(
        read_query(__file__, "bad_cells").format(
            values=sql.SQL(", ").join(sql.Identifier("s", column.name) for column in judged),
            cells=sql.SQL(", ").join(sql.Identifier("r", column.name) for column in judged),
            codes=sql.SQL(", ").join(codes),
            slip_date=cells.trimmed(sql.Identifier("r", "slip_date")),
            stg=identifier(f"stg.{kind.name}"),
            raw=identifier(f"raw.{kind.name}"),
            upload_id=upload_id,
            limit=REPORT_LIMIT,
            # One character more than is shown, so that it is seen to be cut.
            shown=VALUE_LIMIT + 1,
        ),
        [[*(column.header for column in judged), kind.columns[0].header]],
    ).fetchall()
    problems = [Problem(code, reader.line_numbers[row - 1], header, cell or "") for row, header, code, cell, _ in rows]
    if problems or reader.problems:
        count = reader.problem_count + (rows[0][-1] if rows else 0)
        raise RejectedFileError([*reader.problems, *problems], count)


def _count_days(connection: Connection, kind: FileKind, upload_id: int) -> dict[date, int]:
    rows = connection.execute(
        sql.SQL("SELECT slip_date, count(*) FROM {} WHERE upload_file_id = {} GROUP BY 1 ORDER BY 1").format(
            identifier(f"stg.{kind.name}"), upload_id
        )
    )
    return dict(rows.fetchall())


def replace_days(connection: Connection, kind: FileKind, upload_id: int) -> list[dict[str, object]] | None:
    """Soft-delete earlier rows of an upload's days (spec: Staging, the last successful upload's rows are active).

    Returns:
        The days that are left with far less than before, as the upload's log row keeps them; None: there are none.
    """
    query = read_query(__file__, "replace_days").format(stg=identifier(f"stg.{kind.name}"))
    shrunk: list[dict[str, object]] | None = scalar(
        connection, query, {"upload_id": upload_id, "share": load_settings().shrunk_share}
    )
    return shrunk
