"""From a file's bytes to lines of text cells: size, encoding, header, line shapes.

Values are not judged here, except that a line without a slip date is blank, a total, or a problem. The file is
streamed: memory doesn't grow with its length, but for four bytes a line.
"""

import codecs
import csv
import errno
import functools
import hashlib
import io
import itertools
import os
import re
import stat
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from io import BufferedReader
from operator import itemgetter
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import Column, FileKind
from mv_pipeline.intake.cells import BAD_VALUE, are_plain, holds_something, is_tidy
from mv_pipeline.intake.rejection import REPORT_LIMIT, Code, Problem, RejectedFileError

_BLOCK_BYTES = 1 << 20
# Python is quick on pieces that fit the processor's cache, the server on larger blocks.
_PIECE_LINES = 500
_BLOCK_PIECES = 10
_TOTAL_WORDS = ("合計", "総合計")
# Python's codec maps the bytes 0x80 and 0xFD to 0xFF, which stand for nothing in CP932, to these.
_NOT_IN_CP932 = re.compile("[\x80\uf8f1-\uf8f3]")
_NO_DATE = frozenset(("", *_TOTAL_WORDS))
_LINE_BREAK = re.compile("\r\n|\r|\n")
_DIGITS = 40
# Two cells may differ in size by as many digits each, and a file has fewer than 10 ** 20 lines.
_EXACT = Context(prec=2 * _DIGITS + 20)
_TRANSLATION = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class FileChangedError(Exception):
    """The file was written to while it was read; it hasn't come to rest yet."""


class NotAFileError(Exception):
    """What stands under the name is no regular file (a link, a folder, a device) and isn't opened."""


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file before its lines are read.

    Args:
        size: bytes.
        sha256: in hex.
        encoding: as Python names it.
        identity: tells this very file from another with the same content, until somebody moves or changes it.
    """

    size: int
    sha256: str
    encoding: str
    identity: str = ""


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; never follow a link, never wait for a device.

    Raises:
        NotAFileError: it is no regular file.
        FileNotFoundError: it is gone.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotAFileError(f"{path} is no regular file.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotAFileError(f"{path} was replaced by a link or a device.") from None
        raise
    # Somebody may have put something else there since it was looked at.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(f"{path} was replaced by no regular file.")
    return os.fdopen(descriptor, "rb")


def inspect_file(file: BufferedReader, max_bytes: int) -> FileFacts:
    """Hash a file and find its encoding.

    Raises:
        RejectedFileError: too large, empty, binary, or neither UTF-8 nor CP932.
    """
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
        raise RejectedFileError([Problem(Code.TOO_LARGE, value=f"{size:,} > {max_bytes:,} bytes")])
    if any(b"\0" in block for block in _blocks(file)):
        raise RejectedFileError([_binary_problem(file)])
    if file.tell() == 0:
        raise RejectedFileError([Problem(Code.EMPTY)])
    not_utf8 = _undecodable(file, "utf-8")
    not_cp932 = _undecodable(file, "cp932") if not_utf8 else None
    if not_utf8 and not_cp932:
        # What can be read further as the one than as the other is meant as the one.
        raise RejectedFileError([max(not_cp932, not_utf8, key=lambda problem: problem.line)])
    return FileFacts(size, hash_file(file), "cp932" if not_utf8 else "utf-8-sig")


def hash_file(file: BufferedReader) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        yield block


def _binary_problem(file: BufferedReader) -> Problem:
    file.seek(0)
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem(Code.UNDECODABLE, value="UTF-16")
    return Problem(Code.NOT_CSV, value=f"0x{start.hex(' ')}")


def _undecodable(file: BufferedReader, encoding: str) -> Problem | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for block in _blocks(file):
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            shown = error.object[error.start : error.start + 8]
            return Problem(
                Code.UNDECODABLE, line + error.object[: error.start].count(b"\n"), value=f"0x{shown.hex(' ')}"
            )
        stray = _NOT_IN_CP932.search(text) if encoding == "cp932" else None
        if stray:
            return Problem(Code.UNDECODABLE, line + text[: stray.start()].count("\n"), value=repr(stray.group()))
        line += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return Problem(Code.UNDECODABLE, line, value=f"0x{error.object.hex(' ')}")
    return None


@dataclass(frozen=True)
class Block:
    """Some of a file's data lines.

    Args:
        text: the lines in COPY's text format: the cells of the reader's columns, upload id, row number.
        rows: the lines' row numbers; the file's first data line is 1.
        untidy: the names of columns that have cells with blanks around them or with a word for nothing.
        plain: the names of columns whose cells all are plain.
    """

    text: str
    rows: range
    untidy: frozenset[str]
    plain: frozenset[str]


def _join_blocks(blocks: list[Block]) -> Block:
    return Block(
        "".join(block.text for block in blocks),
        range(blocks[0].rows.start, blocks[-1].rows.stop),
        frozenset.union(*(block.untidy for block in blocks)),
        frozenset.intersection(*(block.plain for block in blocks)),
    )


class CsvReader:
    """Reads one file's lines as cells of its kind.

    After `blocks` is exhausted the counters and problems are complete. `cells_held` counts, for each column with a
    cell that may turn out to be bad, the cells that hold something; `sums` has the sums of net_weight (kg) and amount
    (yen), for the balance of the books.

    Args:
        file: open for reading.
        facts: from `inspect_file`.
        kind: says which headers are known.

    Raises:
        RejectedFileError: the header can't be used.
    """

    def __init__(self, file: BufferedReader, facts: FileFacts, kind: FileKind) -> None:
        file.seek(0)
        self._text = io.TextIOWrapper(file, facts.encoding, newline="")
        self._reader = csv.reader(self._text, strict=True)
        self.blank_lines = 0
        self.total_lines = 0
        self.data_lines = 0
        self.cells_held: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.problem_count = 0
        self._line_numbers = array("I")
        try:
            header = self._first_line()
            self.columns, indices, self.unknown_headers = _match_header(header, kind, self._reader.line_num)
        except RejectedFileError:
            self.release()
            raise
        self._width = len(header)
        self._pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(*indices)
        self._date = indices[[column.name for column in self.columns].index("slip_date")]
        self._lines_read = self._reader.line_num
        self.sums: dict[str, int | Decimal] = {
            column.name: 0 for column in self.columns if column.name in ("net_weight", "amount")
        }

    @property
    def lines(self) -> int:
        """All lines below the header: data, blank and total lines."""
        return self.data_lines + self.blank_lines + self.total_lines

    def line_number(self, row: int) -> int:
        """The line in the file on which data line `row` (1 = first) begins; the file's first line is 1."""
        return self._line_numbers[row - 1]

    def release(self) -> None:
        """Give the file back to whoever opened it."""
        self._text.detach()

    def blocks(self, upload_id: int) -> Iterator[Block]:
        """Yield the data lines, some thousands at a time.

        Raises:
            RejectedFileError: nothing but the header is there.
        """
        pieces = self._pieces(upload_id)
        while block := list(itertools.islice(pieces, _BLOCK_PIECES)):
            yield _join_blocks(block)
        if not self.data_lines and not self.problems:
            raise RejectedFileError([Problem(Code.NO_DATA_LINES)])

    def _pieces(self, upload_id: int) -> Iterator[Block]:
        while rows := self._read_rows():
            if lines := self._sift(rows):
                yield self._block(lines, upload_id)

    def _read_rows(self) -> list[list[str]]:
        rows: list[list[str]] = []
        try:
            rows.extend(itertools.islice(self._reader, _PIECE_LINES))
        except csv.Error as error:
            self._add(self._csv_problem(error))
            # What follows can't be told apart any more.
            self._reader = csv.reader(())
        return rows

    def _sift(self, rows: list[list[str]]) -> list[tuple[str, ...]]:
        """Set aside the lines without data, and remember on which line of the file each of the others begins."""
        one_line_each = self._reader.line_num == self._lines_read + len(rows)
        breaks = itertools.repeat(0, len(rows)) if one_line_each else map(_line_breaks, rows)
        numbers = list(itertools.accumulate((1 + number for number in breaks), initial=self._lines_read + 1))
        self._lines_read = numbers.pop() - 1
        date, width = self._date, self._width
        swallowing = not one_line_each and any(map(self._swallows_lines, rows))
        ragged = any(len(row) != width for row in rows)
        if swallowing or ragged or not _NO_DATE.isdisjoint(row[date].strip() for row in rows):
            numbered = list(zip(numbers, rows, strict=True))
            numbers, rows = [], []
            for number, row in numbered:
                if swallowing and self._swallows_lines(row):
                    self._add(Problem(Code.CELL_TOO_LARGE, number))
                elif len(row) != width or row[date].strip() in _NO_DATE:
                    self._set_aside(row, number)
                else:
                    numbers.append(number)
                    rows.append(row)
        self._line_numbers.extend(numbers)
        self.data_lines += len(rows)
        return list(map(self._pick, rows))

    def _block(self, lines: list[tuple[str, ...]], upload_id: int) -> Block:
        untidy, plain = set(), set()
        for index, column in enumerate(self.columns):
            cells = [line[index] for line in lines]
            values = set(cells)
            if are_plain(values, column.type):
                plain.add(column.name)
            elif not all(map(is_tidy, values)):
                untidy.add(column.name)
            if column.name in self.sums:
                self.sums[column.name] = functools.reduce(_plus, cells, self.sums[column.name])
            if column.type in BAD_VALUE:
                nothing = [value for value in values if not holds_something(value)] if column.name in untidy else [""]
                self.cells_held[column.name] += len(cells) - sum(map(cells.count, nothing))
        rows = range(self.data_lines - len(lines) + 1, self.data_lines + 1)
        text = "".join([f"{line}\t{upload_id}\t{row}\n" for row, line in zip(rows, self._join(lines), strict=True)])
        return Block(text, rows, frozenset(untidy), frozenset(plain))

    def _join(self, lines: list[tuple[str, ...]]) -> list[str]:
        """Join the cells of each line, escaped where COPY needs it; most blocks don't, as four searches tell."""
        joined = ["\t".join(cells) for cells in lines]
        text = "\n".join(joined)
        if (
            "\\" in text
            or "\r" in text
            or text.count("\n") != len(joined) - 1
            or text.count("\t") != len(joined) * (len(self.columns) - 1)
        ):
            return ["\t".join([cell.translate(_TRANSLATION) for cell in cells]) for cells in lines]
        return joined

    def _first_line(self) -> list[str]:
        try:
            for row in self._reader:
                if any(cell.strip() for cell in row):
                    return row
        except csv.Error as error:
            raise RejectedFileError([self._csv_problem(error)]) from None
        raise RejectedFileError([Problem(Code.EMPTY)])

    def _swallows_lines(self, row: list[str]) -> bool:
        """True if a cell holds the end of a line and the beginning of another, as between two stray quotes."""
        return any(cell.count(",") >= self._width - 1 for cell in row if "\n" in cell or "\r" in cell)

    def _set_aside(self, row: list[str], line: int) -> None:
        cells = [cell.strip() for cell in row]
        dated = len(cells) > self._date and cells[self._date] not in _NO_DATE
        if not any(cells):
            self.blank_lines += 1
        elif not dated and any(cell in _TOTAL_WORDS for cell in cells):
            self.total_lines += 1
        elif len(row) != self._width:
            self._add(Problem(Code.RAGGED_LINE, line, value=f"{len(row)} ≠ {self._width}"))
        else:
            self._add(Problem(Code.MISSING_DATE, line, header=self.columns[0].header))

    def _add(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < REPORT_LIMIT:
            self.problems.append(problem)

    def _csv_problem(self, error: csv.Error) -> Problem:
        code = Code.CELL_TOO_LARGE if "field larger than field limit" in str(error) else Code.NOT_CSV
        return Problem(code, self._reader.line_num, value=str(error))


def _match_header(header: list[str], kind: FileKind, line: int) -> tuple[list[Column], list[int], list[str]]:
    known = {_plain(column.header): column for column in kind.columns}
    found: dict[str, int] = {}
    problems, unknown = [], []
    for index, text in enumerate(header):
        column = known.get(_plain(text))
        if column is None:
            unknown.append(text)
        elif column.name in found:
            problems.append(Problem(Code.DUPLICATED_HEADER, line, header=column.header))
        else:
            found[column.name] = index
    if not found:
        raise RejectedFileError([Problem(Code.NOT_CSV, line, value=",".join(header))])
    problems += [
        Problem(Code.MISSING_HEADER, line, header=column.header)
        for column in kind.columns
        if column.required and column.name not in found
    ]
    if problems:
        raise RejectedFileError(problems)
    columns = [column for column in kind.columns if column.name in found]
    return columns, [found[column.name] for column in columns], unknown


def _line_breaks(row: list[str]) -> int:
    return sum(len(_LINE_BREAK.findall(cell)) for cell in row)


def _plain(header: str) -> str:
    """A header without what exports vary in: blanks, byte order marks, and full or half width."""
    return "".join(unicodedata.normalize("NFKC", header).replace("\ufeff", "").split())


def _plus(total: int | Decimal, cell: str) -> int | Decimal:
    """The exact sum with a whole number, as most are, or with what `_decimal` makes of the cell."""
    plain = cell.replace(",", "")
    number = int(plain) if plain.isdecimal() and len(plain) < _DIGITS else _decimal(cell)
    return total + number if type(total) is type(number) is int else _EXACT.add(total, number)


def _decimal(cell: str) -> Decimal:
    """A number as the file has it, for the balance of the books; what is no number is judged elsewhere."""
    try:
        value = Decimal(unicodedata.normalize("NFKC", cell).replace(",", "").replace("−", "-").strip())
    except InvalidOperation:
        return Decimal(0)
    # No cell that can be read is that large, and a sum of larger ones would overflow.
    return value if value.is_finite() and value.adjusted() < _DIGITS else Decimal(0)
