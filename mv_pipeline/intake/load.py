"""Loading one file: log row, raw lines, stg lines and the soft deletion of what they replace, in one transaction.

Moving files is not done here; see `ingest`.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from io import BufferedReader

from psycopg import sql
from psycopg.types.json import Jsonb

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.intake import cells
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
