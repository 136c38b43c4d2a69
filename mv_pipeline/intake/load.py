"""Loading one file: log row, raw lines, stg lines and the soft deletion of what they replace, in one transaction.

Moving files is not done here; see `ingest`.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from io import BufferedReader

from psycopg import sql
from psycopg.types.json import Jsonb

from mv_pipeline.catalog.csv_kinds import Column, FileKind
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.intake import cells
from mv_pipeline.intake.reader import Block, CsvReader
from mv_pipeline.intake.rejection import REPORT_LIMIT, VALUE_LIMIT, Problem, RejectedFileError
from mv_pipeline.intake.upload_log import UPLOADS

_BAD_SLIP_DATE = sql.SQL(
    "WHEN s.slip_date IS NULL THEN 'missing_date' WHEN s.slip_date NOT BETWEEN "
    "(SELECT first FROM calendar) AND (SELECT last FROM calendar) THEN 'date_out_of_range'"
)


@dataclass(frozen=True)
class Upload:
    """What became of one file.

    Args:
        id: its row in log.upload_file.
        file_name: its printable name in the inbox.
        status: loaded, duplicate (its rows are the active ones already) or rejected.
        rows: data lines loaded.
        days: data lines by slip date.
        blank_lines, total_lines: lines left out of raw and stg.
        message: the reason of a rejection, in Japanese.
    """

    id: int
    file_name: str
    status: str
    rows: int = 0
    days: dict[date, int] | None = None
    blank_lines: int = 0
    total_lines: int = 0
    message: str = ""


@dataclass(frozen=True)
class IncomingFile:
    """What is known of a file before its content is judged.

    Args:
        kind: of the folder in which it was dropped.
        name: its printable name.
        size: bytes.
        sha256: in hex; empty for a file that is too large to be read.
        identity: tells this very file from another with the same content, until somebody moves or changes it.
    """

    kind: FileKind
    name: str
    uploaded_by: str
    size: int
    sha256: str
    identity: str


def inspect_file(opened: BufferedReader, kind: FileKind, name: str, uploaded_by: str, max_bytes: int) -> IncomingFile:
    """Take an open file's size, identity and hash; one of more than `max_bytes` is not read."""
    status = os.fstat(opened.fileno())
    sha256 = "" if status.st_size > max_bytes else hashlib.file_digest(opened, "sha256").hexdigest()
    identity = f"{status.st_dev}-{status.st_ino}-{status.st_ctime_ns}"
    return IncomingFile(kind, name, uploaded_by, status.st_size, sha256, identity)


def load_file(connection: Connection, file: IncomingFile, opened: BufferedReader) -> Upload:
    """Load a file in the caller's transaction.

    A file that was loaded before and only couldn't be moved is not loaded again, whatever came after it.

    Raises:
        RejectedFileError: something in the file is wrong; the caller rolls back.
    """
    started = time.perf_counter()
    kind = file.kind
    taken = find_logged(connection, file, "success")
    if taken is not None:
        # The run that loaded it may have died before it could say which days it brought.
        return Upload(taken, file.name, "duplicate", days=_count_days(connection, kind, taken))
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
    _delete_earlier(connection, kind, upload_id, list(days))
    metadata = {
        "lines": reader.lines,
        "blank_lines": reader.blank_lines,
        "total_lines": reader.total_lines,
        "net_weight_kg": str(reader.sums.get("net_weight", 0)),
        "amount_yen": str(reader.sums.get("amount", 0)),
        "first_day": min(days).isoformat(),
        "last_day": max(days).isoformat(),
        "encoding": reader.encoding,
        "unknown_headers": reader.unknown_headers,
        "seconds": round(time.perf_counter() - started, 6),
    }
    rows = len(reader.line_numbers)
    connection.execute(
        "UPDATE log.upload_file SET processing_status = 'success', row_count = %s, metadata = metadata || %s "
        "WHERE id = %s",
        [rows, Jsonb(metadata), upload_id],
    )
    return Upload(upload_id, file.name, "loaded", rows, days, reader.blank_lines, reader.total_lines)


def log_upload(
    connection: Connection, file: IncomingFile, status: str, metadata: Mapping[str, object], **columns: object
) -> int:
    """Insert the log row of a file and return its id."""
    row = {
        "file_name": file.name,
        "file_hash": file.sha256,
        "file_type": file.kind.version.upper(),
        "csv_type": file.kind.list.csv_type,
        "file_size_bytes": file.size,
        "uploaded_by": file.uploaded_by,
        "processing_status": status,
        "metadata": Jsonb({"file": file.identity, **metadata}),
        **columns,
    }
    statement = sql.SQL("INSERT INTO log.upload_file ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    return int(scalar(connection, statement, row))


def find_logged(connection: Connection, file: IncomingFile, status: str) -> int | None:
    """The log row of this very file, if a run that couldn't move it has left it behind."""
    query = sql.SQL(
        "SELECT max(id) FROM {} "
        "WHERE file_hash = %s AND kind = %s AND processing_status = %s AND metadata->>'file' = %s"
    ).format(UPLOADS)
    upload_id: int | None = scalar(connection, query, [file.sha256, file.kind.name, status, file.identity])
    return upload_id


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
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(identifier(f"raw.{kind.name}"), _names(reader.columns))
    # The server types one block while Python reads the next; only one of the two threads uses the connection at a time.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert") as server:
        typed: Future[None] = server.submit(lambda: None)
        for block in reader.blocks(upload_id):
            typed.result()
            with connection.cursor().copy(statement) as copy:
                copy.write(block.text)
            typed = server.submit(_insert_typed, connection, kind, reader.columns, block, upload_id)
        typed.result()


def _insert_typed(connection: Connection, kind: FileKind, columns: list[Column], block: Block, upload_id: int) -> None:
    """Derive a block's stg rows from its raw rows."""
    lines = sql.SQL("{} WHERE upload_file_id = {} AND source_row_no BETWEEN {} AND {}").format(
        identifier(f"raw.{kind.name}"), upload_id, block.rows[0], block.rows[-1]
    )
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) {}").format(
            identifier(f"stg.{kind.name}"), _names(columns), cells.select_typed(columns, lines, block.plain)
        )
    )


def _names(columns: list[Column]) -> sql.Composed:
    names = [*(column.name for column in columns), "upload_file_id", "source_row_no"]
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _raise_problems(connection: Connection, kind: FileKind, reader: CsvReader, upload_id: int) -> None:
    """Find the cells that hold something and became no value, and the slip dates outside of the calendar.

    Raises:
        RejectedFileError: there are such cells, or the reader has found problems.
    """
    # A cast reads plain cells, and raises where it can't. Whatever else became no value is compared with its cell.
    plain = reader.plain - {"slip_date"}
    judged = [column for column in reader.columns if column.type in cells.BAD_VALUE and column.name not in plain]
    codes = [
        sql.SQL("CASE WHEN s.{name} IS NULL AND {} IS NOT NULL THEN {} {} END").format(
            cells.trimmed(sql.Identifier("r", column.name)),
            cells.BAD_VALUE[column.type],
            _BAD_SLIP_DATE if column.name == "slip_date" else sql.SQL(""),
            name=sql.Identifier(column.name),
        )
        for column in judged
    ]
    rows = connection.execute(
        read_query(__file__, "bad_cells").format(
            values=sql.SQL(", ").join(sql.Identifier("s", column.name) for column in judged),
            cells=sql.SQL(", ").join(sql.Identifier("r", column.name) for column in judged),
            codes=sql.SQL(", ").join(codes),
            stg=identifier(f"stg.{kind.name}"),
            raw=identifier(f"raw.{kind.name}"),
            upload_id=upload_id,
            limit=REPORT_LIMIT,
            # One character more than is shown, so that it is seen to be cut.
            shown=VALUE_LIMIT + 1,
        ),
        [[column.header for column in judged]],
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


def _delete_earlier(connection: Connection, kind: FileKind, upload_id: int, days: list[date]) -> None:
    """Soft-delete earlier rows of the same days (spec: Staging, the last successful upload's rows are active)."""
    connection.execute(
        sql.SQL(
            "UPDATE {} SET is_deleted = true, deleted_at = now(), deleted_by = %s "
            "WHERE slip_date = ANY (%s) AND NOT is_deleted AND upload_file_id IS DISTINCT FROM %s"
        ).format(identifier(f"stg.{kind.name}")),
        [f"upload_file {upload_id}", days, upload_id],
    )
