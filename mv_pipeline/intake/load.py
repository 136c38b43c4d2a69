"""Loading one file: log row, raw lines, stg lines and the soft deletion of what they replace, in one transaction.

Moving files is not done here; see `upload`.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path

from psycopg import sql
from psycopg.types.json import Jsonb

from mv_pipeline.catalog.csv_kinds import Column, FileKind
from mv_pipeline.database.connection import Connection, one_row, scalar
from mv_pipeline.intake import cells
from mv_pipeline.intake.reader import Block, CsvReader, FileFacts
from mv_pipeline.intake.rejection import REPORT_LIMIT, VALUE_LIMIT, Code, Problem, RejectedFileError


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


def load_file(
    connection: Connection, kind: FileKind, file_name: str, file: BufferedReader, facts: FileFacts, uploaded_by: str
) -> Upload:
    """Load a file in the caller's transaction.

    A file that was loaded before and only couldn't be moved away is not loaded again, whatever came after it.

    Raises:
        RejectedFileError: something in the file is wrong; the caller rolls back.
    """
    started = time.perf_counter()
    taken = find_logged(connection, kind, facts, "success")
    if taken is not None:
        # The run that loaded it may have died before it could say which days it brought.
        return Upload(taken, file_name, "duplicate", days=_days_of(connection, kind, taken))
    original = _active_upload(connection, kind, facts)
    upload_id = log_upload(connection, kind, file_name, facts, "processing", uploaded_by)
    if original is not None:
        _finish_log(connection, upload_id, 0, {"duplicate_of": original, "file": facts.identity})
        return Upload(upload_id, file_name, "duplicate")
    with _reading(file, facts, kind) as reader:
        doubtful = _load_lines(connection, kind, reader, upload_id)
        if (
            reader.problems
            or not _all_read(connection, kind, reader, doubtful, upload_id)
            or not _dates_in_range(connection, kind, upload_id)
        ):
            raise _rejection(connection, kind, reader, upload_id)
    days = _days_of(connection, kind, upload_id)
    _delete_earlier(connection, kind, upload_id, list(days))
    facts_of_upload = {
        "lines": reader.lines,
        "blank_lines": reader.blank_lines,
        "total_lines": reader.total_lines,
        "net_weight_kg": str(reader.sums.get("net_weight", 0)),
        "amount_yen": str(reader.sums.get("amount", 0)),
        "first_day": min(days).isoformat(),
        "last_day": max(days).isoformat(),
        "encoding": facts.encoding,
        "unknown_headers": reader.unknown_headers,
        "file": facts.identity,
        "seconds": round(time.perf_counter() - started, 6),
    }
    _finish_log(connection, upload_id, reader.data_lines, facts_of_upload)
    return Upload(upload_id, file_name, "loaded", reader.data_lines, days, reader.blank_lines, reader.total_lines)


def log_rejection(
    connection: Connection, upload_id: int, facts: FileFacts, error: RejectedFileError, report: Path
) -> None:
    """Complete the log row of a rejected file; the report's path is relative to the folder of rejected files."""
    metadata = {
        "problems": error.count,
        "codes": Counter(problem.code for problem in error.problems),
        "file": facts.identity,
        "report": str(report),
    }
    connection.execute(
        "UPDATE log.upload_file SET error_message = %s, metadata = %s WHERE id = %s",
        [str(error), Jsonb(metadata), upload_id],
    )


@contextmanager
def _reading(file: BufferedReader, facts: FileFacts, kind: FileKind) -> Iterator[CsvReader]:
    reader = CsvReader(file, facts, kind)
    try:
        yield reader
    finally:
        reader.release()


def log_upload(
    connection: Connection, kind: FileKind, file_name: str, facts: FileFacts, status: str, uploaded_by: str
) -> int:
    """Insert the log row of a file and return its id."""
    upload_id: int = scalar(
        connection,
        "INSERT INTO log.upload_file (file_name, file_hash, file_type, csv_type, file_size_bytes, uploaded_by, "
        "processing_status) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [file_name, facts.sha256, kind.version.upper(), kind.list.csv_type, facts.size, uploaded_by, status],
    )
    return upload_id


def _finish_log(connection: Connection, upload_id: int, rows: int, metadata: dict[str, object]) -> None:
    connection.execute(
        "UPDATE log.upload_file SET processing_status = 'success', row_count = %s, metadata = %s WHERE id = %s",
        [rows, Jsonb(metadata), upload_id],
    )


def find_logged(connection: Connection, kind: FileKind, facts: FileFacts, status: str) -> int | None:
    """The log row of this very file, if a run that couldn't move it away has left it behind."""
    row = connection.execute(
        "SELECT id FROM log.upload_file WHERE file_hash = %s AND file_type = %s AND csv_type = %s "
        "AND processing_status = %s AND metadata->>'file' = %s ORDER BY id DESC LIMIT 1",
        [facts.sha256, kind.version.upper(), kind.list.csv_type, status, facts.identity],
    ).fetchone()
    return row[0] if row else None


def _active_upload(connection: Connection, kind: FileKind, facts: FileFacts) -> int | None:
    """The earlier upload of the same content whose rows are all still active and as they were loaded, if any.

    Rows that somebody changed by hand don't count as its content any more, so that dropping a file again repairs them.
    """
    row = connection.execute(
        sql.SQL(
            "SELECT u.id FROM log.upload_file AS u CROSS JOIN LATERAL ("
            "SELECT count(*) AS lines, coalesce(sum(net_weight), 0) AS kg, coalesce(sum(amount), 0) AS yen, "
            "min(slip_date) AS first, max(slip_date) AS last FROM {} AS s "
            "WHERE s.upload_file_id = u.id AND NOT s.is_deleted) AS active "
            "WHERE file_hash = %s AND file_type = %s AND csv_type = %s "
            "AND processing_status = 'success' AND NOT is_deleted AND row_count > 0 AND row_count = active.lines "
            "AND (metadata->>'net_weight_kg')::numeric IS NOT DISTINCT FROM active.kg "
            "AND (metadata->>'amount_yen')::numeric IS NOT DISTINCT FROM active.yen "
            "AND (metadata->>'first_day')::date IS NOT DISTINCT FROM active.first "
            "AND (metadata->>'last_day')::date IS NOT DISTINCT FROM active.last "
            "ORDER BY u.id DESC LIMIT 1"
        ).format(_stg(kind)),
        [facts.sha256, kind.version.upper(), kind.list.csv_type],
    ).fetchone()
    return row[0] if row else None


def _load_lines(connection: Connection, kind: FileKind, reader: CsvReader, upload_id: int) -> set[str]:
    """Copy the lines into raw and derive their stg rows, block by block.

    Returns:
        The names of the columns in which a cell may have been bad.
    """
    doubtful: set[str] = set()
    typed: Future[set[str]] | None = None
    # The server types one block while Python reads the next; only one of the two threads uses the connection at a time.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert") as server:
        for block in reader.blocks(upload_id):
            if typed:
                doubtful |= typed.result()
            _copy(connection, kind, reader.columns, block)
            typed = server.submit(_insert_typed, connection, kind, reader.columns, block, upload_id)
    return doubtful | typed.result() if typed else doubtful


def _copy(connection: Connection, kind: FileKind, columns: list[Column], block: Block) -> None:
    names = [*(column.name for column in columns), "upload_file_id", "source_row_no"]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("raw", kind.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with connection.cursor().copy(statement) as copy:
        copy.write(block.text)


def _insert_typed(
    connection: Connection, kind: FileKind, columns: list[Column], block: Block, upload_id: int
) -> set[str]:
    """Derive a block's stg rows from its raw rows.

    Returns:
        The names of the columns in which a cell may have been bad.
    """
    names = [sql.Identifier(column.name) for column in columns]
    connection.execute(
        sql.SQL(
            "INSERT INTO {stg} ({names}, upload_file_id, source_row_no) "
            "SELECT {values}, {id}, source_row_no "
            # OFFSET 0 keeps the planner from trimming a cell again at every mention.
            "FROM (SELECT {trimmed}, source_row_no FROM {raw} "
            "WHERE upload_file_id = {id} AND source_row_no BETWEEN {first} AND {last} OFFSET 0) AS lines"
        ).format(
            trimmed=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(cells.trimmed(name, tidy=column.name not in block.untidy), name)
                for name, column in zip(names, columns, strict=True)
            ),
            values=sql.SQL(", ").join(
                (cells.plain_value if column.name in block.plain else cells.value)(name, column.type)
                for name, column in zip(names, columns, strict=True)
            ),
            names=sql.SQL(", ").join(names),
            raw=sql.Identifier("raw", kind.name),
            stg=_stg(kind),
            id=upload_id,
            first=block.rows[0],
            last=block.rows[-1],
        )
    )
    return {column.name for column in columns if column.type in cells.BAD_VALUE} - block.plain


def _all_read(connection: Connection, kind: FileKind, reader: CsvReader, names: set[str], upload_id: int) -> bool:
    """True if in these columns every cell that holds something became a value."""
    if not names:
        return True
    values = one_row(
        connection,
        sql.SQL("SELECT {} FROM {} WHERE upload_file_id = {}").format(
            sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in names),
            _stg(kind),
            upload_id,
        ),
    )
    return all(count == reader.cells_held[name] for name, count in zip(names, values, strict=True))


def _dates_in_range(connection: Connection, kind: FileKind, upload_id: int) -> bool:
    return not scalar(
        connection,
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {}, (SELECT min(ddate) AS first, max(ddate) AS last FROM ref.calendar_day) "
            "AS c WHERE upload_file_id = {} AND (slip_date IS NULL OR slip_date NOT BETWEEN c.first AND c.last))"
        ).format(_stg(kind), upload_id),
    )


def _rejection(connection: Connection, kind: FileKind, reader: CsvReader, upload_id: int) -> RejectedFileError:
    """Collect every problem of the file: those of its lines and those of its cells."""
    problems, count = list(reader.problems), reader.problem_count
    for column in reader.columns:
        for row, code, value, number in _bad_cells(connection, kind, column, upload_id):
            problems.append(Problem(code, reader.line_number(row), column.header, value))
            count += number
    return RejectedFileError(problems, count)


def _bad_cells(
    connection: Connection, kind: FileKind, column: Column, upload_id: int
) -> Iterator[tuple[int, Code, str, int]]:
    """Yield row number, code and text of a column's bad cells, and 1 each; the last carries those over the limit."""
    name = sql.Identifier(column.name)
    conditions = [
        sql.SQL("WHEN r.held IS NOT NULL AND s.{} IS NULL THEN {}").format(
            name, sql.Literal(str(cells.BAD_VALUE.get(column.type, "")))
        )
    ]
    if column.name == "slip_date":
        conditions += [
            sql.SQL("WHEN s.slip_date IS NULL THEN {}").format(sql.Literal(str(Code.MISSING_DATE))),
            sql.SQL("WHEN s.slip_date NOT BETWEEN c.first AND c.last THEN {}").format(
                sql.Literal(str(Code.DATE_OUT_OF_RANGE))
            ),
        ]
    rows = connection.execute(
        sql.SQL(
            "SELECT source_row_no, code, left(cell, {shown}), count(*) OVER () FROM ("
            "SELECT r.source_row_no, r.cell, CASE {conditions} END AS code FROM {stg} AS s "
            "JOIN (SELECT source_row_no, {name} AS cell, {held} AS held FROM {raw} WHERE upload_file_id = {id}) AS r "
            "USING (source_row_no), "
            "(SELECT min(ddate) AS first, max(ddate) AS last FROM ref.calendar_day) AS c "
            "WHERE s.upload_file_id = {id}) AS judged WHERE code IS NOT NULL ORDER BY source_row_no LIMIT {limit}"
        ).format(
            conditions=sql.SQL(" ").join(conditions),
            stg=_stg(kind),
            raw=sql.Identifier("raw", kind.name),
            name=name,
            held=cells.trimmed(name),
            id=upload_id,
            limit=REPORT_LIMIT,
            # One character more than is shown, so that it is seen to be cut.
            shown=VALUE_LIMIT + 1,
        )
    ).fetchall()
    for position, row in enumerate(rows):
        row_number, code, value, total = row
        left = total - len(rows) if position == len(rows) - 1 else 0
        yield row_number, Code(code), value or "", 1 + left


def _days_of(connection: Connection, kind: FileKind, upload_id: int) -> dict[date, int]:
    rows = connection.execute(
        sql.SQL("SELECT slip_date, count(*) FROM {} WHERE upload_file_id = {} GROUP BY 1 ORDER BY 1").format(
            _stg(kind), upload_id
        )
    ).fetchall()
    return dict(rows)


def _delete_earlier(connection: Connection, kind: FileKind, upload_id: int, days: list[date]) -> None:
    """Soft-delete earlier rows of the same days (spec: Staging, the last successful upload's rows are active)."""
    connection.execute(
        sql.SQL(
            "UPDATE {} SET is_deleted = true, deleted_at = now(), deleted_by = %s "
            "WHERE slip_date = ANY (%s) AND NOT is_deleted AND upload_file_id IS DISTINCT FROM %s"
        ).format(_stg(kind)),
        [f"upload_file {upload_id}", days, upload_id],
    )


def _stg(kind: FileKind) -> sql.Identifier:
    return sql.Identifier("stg", kind.name)
