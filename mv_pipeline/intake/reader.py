"""From a file's bytes to lines of text cells: size, encoding, header, line shapes.

Values are not judged here, except that a line without a slip date is blank, a total, or a problem. The file is
streamed: memory doesn't grow with its length, but for four bytes a line.
"""

import codecs
import csv
import hashlib
import io
import itertools
import os
import re
import stat
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from io import BufferedReader
from operator import itemgetter
from pathlib import Path

from mv_pipeline.catalog.kinds import Column, Kind
from mv_pipeline.intake.cells import holds_something, is_tidy
from mv_pipeline.intake.problems import REPORT_LIMIT, Code, Problem, RejectedFileError

_BLOCK_BYTES = 1 << 20
_BLOCK_LINES = 2_000
_TOTAL_WORDS = ("合計", "総合計")
# Python's codec maps the bytes 0x80 and 0xFD to 0xFF, which stand for nothing in CP932, to these.
_NOT_IN_CP932 = re.compile("[\x80\uf8f1-\uf8f3]")
# Between lines joined by tabs and line feeds, one of these shows for every untidy cell.
_UNTIDY_SIGNS = (" \t", "\t ", " \n", "\n ", "\u3000", "\u00a0", "\tN", "\tn", "\nN", "\nn")
_NO_DATE = frozenset(("", *_TOTAL_WORDS))
_DIGITS = 40
_TRANSLATION = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class FileChangedError(Exception):
    """The file was written to while it was read; it hasn't come to rest yet."""


class NotAFileError(Exception):
    """What stands under the name is no regular file (a link, a folder, a device) and isn't opened."""


@dataclass(frozen=True)
class FileFacts:
    """What a first pass over a file tells: its size in bytes, its SHA-256 and its encoding."""

    size: int
    sha256: str
    encoding: str


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; never follow a link, never wait for a device.

    Raises:
        NotAFileError: it is no regular file.
        FileNotFoundError: it is gone.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotAFileError(f"{path} is no regular file.")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


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
    encoding = "utf-8-sig" if _undecodable(file, "utf-8") is None else "cp932"
    if encoding == "cp932":
        problem = _undecodable(file, "cp932")
        if problem:
            raise RejectedFileError([problem])
    return FileFacts(size, hash_file(file), encoding)


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


class CsvReader:
    """Reads one file's lines as cells of its kind.

    After `copy_blocks` is exhausted the counters and problems are complete: `cells_held` counts the cells that hold
    something, and `untidy` names the columns that have cells with blanks around them or with a word for nothing.

    Args:
        file: open for reading.
        facts: from `inspect_file`.
        kind: says which headers are known.

    Raises:
        RejectedFileError: the header can't be used.
    """

    def __init__(self, file: BufferedReader, facts: FileFacts, kind: Kind) -> None:
        file.seek(0)
        self._text = io.TextIOWrapper(file, facts.encoding, newline="")
        self._reader = csv.reader(self._text, strict=True)
        self.blank_lines = 0
        self.total_lines = 0
        self.data_lines = 0
        self.cells_held = 0
        self.untidy: set[str] = set()
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.net_weight_kg: int | Decimal = 0
        self.amount_yen: int | Decimal = 0
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
        by_name = {column.name: index for column, index in zip(self.columns, indices, strict=True)}
        self._weight, self._amount = by_name.get("net_weight"), by_name.get("amount")

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

    def copy_blocks(self, upload_id: int) -> Iterator[str]:
        """Yield the data lines in COPY's text format: the cells of `columns`, upload id, row number.

        Raises:
            RejectedFileError: nothing but the header is there.
        """
        rows = self._rows()
        while block := list(itertools.islice(rows, _BLOCK_LINES)):
            self.cells_held += len(block) * len(self.columns) - sum(cells.count("") for cells in block)
            lines = self._as_lines(block)
            first = self.data_lines - len(block) + 1
            yield "".join([f"{line}\t{upload_id}\t{row}\n" for row, line in enumerate(lines, first)])
        if not self.data_lines and not self.problems:
            raise RejectedFileError([Problem(Code.NO_DATA_LINES)])

    def _as_lines(self, block: list[tuple[str, ...]]) -> list[str]:
        """Join the cells of each line, escaped where COPY needs it, and look for untidy ones.

        Most blocks need neither, which is seen by a few searches of the whole block.
        """
        lines = ["\t".join(cells) for cells in block]
        text = "\n".join(("", *lines, ""))
        plain = (
            "\\" not in text
            and "\r" not in text
            and text.count("\n") == len(lines) + 1
            and text.count("\t") == len(lines) * (len(self.columns) - 1)
        )
        if plain and not any(sign in text for sign in _UNTIDY_SIGNS):
            return lines
        for cells in block:
            self._find_untidy(cells)
        return lines if plain else ["\t".join([cell.translate(_TRANSLATION) for cell in cells]) for cells in block]

    def _find_untidy(self, cells: tuple[str, ...]) -> None:
        for column, cell in zip(self.columns, cells, strict=True):
            if not is_tidy(cell):
                self.untidy.add(column.name)
                self.cells_held -= not holds_something(cell)

    def _first_line(self) -> list[str]:
        try:
            for row in self._reader:
                if any(cell.strip() for cell in row):
                    return row
        except csv.Error as error:
            raise RejectedFileError([self._csv_problem(error)]) from None
        raise RejectedFileError([Problem(Code.EMPTY)])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        reader, width, date, pick = self._reader, self._width, self._date, self._pick
        weight, amount = self._weight, self._amount
        before = reader.line_num
        try:
            for row in reader:
                line, before = before + 1, reader.line_num
                if len(row) != width or row[date].strip() in _NO_DATE:
                    self._set_aside(row, line)
                    continue
                self.data_lines += 1
                self._line_numbers.append(line)
                if weight is not None:
                    self.net_weight_kg += _number(row[weight])
                if amount is not None:
                    self.amount_yen += _number(row[amount])
                yield pick(row)
        except csv.Error as error:
            self._add(self._csv_problem(error))

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


def _match_header(header: list[str], kind: Kind, line: int) -> tuple[list[Column], list[int], list[str]]:
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


def _plain(header: str) -> str:
    """A header without what exports vary in: blanks and full or half width."""
    return "".join(unicodedata.normalize("NFKC", header).split())


def _number(cell: str) -> int | Decimal:
    """A whole number, as most are, or what `_decimal` makes of the cell."""
    plain = cell.replace(",", "")
    return int(plain) if plain.isdecimal() and len(plain) < _DIGITS else _decimal(cell)


def _decimal(cell: str) -> Decimal:
    """A number as the file has it, for the balance of the books; what is no number is judged elsewhere."""
    try:
        value = Decimal(unicodedata.normalize("NFKC", cell).replace(",", "").replace("−", "-").strip())
    except InvalidOperation:
        return Decimal(0)
    # No cell that can be read is that large, and a sum of larger ones would overflow.
    return value if value.is_finite() and value.adjusted() < _DIGITS else Decimal(0)
