"""From a file's bytes to lines of text cells: size, encoding, header, line shapes.

Values are not judged here, except that a line without a slip date is blank, a total, or a problem. The file is
streamed: of a long one a sixteenth is in memory at once, besides four bytes a line.
"""

import codecs
import csv
import errno
import fcntl
import itertools
import os
import re
import signal
import stat
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from io import BufferedReader
from operator import itemgetter
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import Column, FileKind
from mv_pipeline.intake.cells import are_plain
from mv_pipeline.intake.rejection import REPORT_LIMIT, Problem, RejectedFileError

_BLOCK_BYTES = 1 << 20
# Python is quick on pieces that fit the processor's cache, the server on larger blocks.
_PIECE_LINES = 500
_BLOCK_PIECES = 10
# 小計, 【合計】, 総　計, 合計：3件. Names of firms end in 計 too, so no other word in front of it will do.
_TOTAL = re.compile(r"[\W_]*+([小中大合総累日週月年頁]|総\s*合|伝票|業者|現場|品名|取引先|種類)?\s*+計(\W.*)?")
# Python's codec maps the bytes 0x80, 0xA0 and 0xFD to 0xFF, which mean nothing in CP932, to these. What else it maps to
# the private area are a company's own characters, as they are to Windows.
_NOT_IN_CP932 = re.compile("[\x80\uf8f0-\uf8f3]")
_DIGITS = 40
# Two cells may differ in size by as many digits each, and a file has fewer than 10 ** 20 lines.
_EXACT = Context(prec=2 * _DIGITS + 20)
_TRANSLATION = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class FileUnavailableError(Exception):
    """The file can't be taken now: it isn't finished, somebody writes to it, or it is a link, a folder or a device."""


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; never follow a link, never wait for a device.

    Raises:
        FileUnavailableError: it is no regular file.
        OSError: it is gone, was replaced by a link or a socket this moment, or can't be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise FileUnavailableError(f"{path} is no regular file.")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    # Somebody may have put something else there since its status was read.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileUnavailableError(f"{path} was replaced by no regular file.")
    return os.fdopen(descriptor, "rb")


def raise_if_open_for_writing(opened: BufferedReader) -> None:
    """Find out whether somebody has a file open for writing, by a read lease: Linux grants none then.

    Only the file's owner may ask, or who has CAP_LEASE, and other hosts of a share aren't seen: what is written late
    there, the comparison of the archive with the log finds.

    Raises:
        FileUnavailableError: somebody has.
    """
    if sys.platform != "linux":
        return
    try:
        # Whoever opens the file meanwhile lets the system send a signal; the usual one would end this process.
        fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and not _is_share(os.fstat(opened.fileno()).st_dev):
            raise FileUnavailableError("Somebody has it open for writing.") from None


def _is_share(device: int) -> bool:
    """True if the file system is another host's: it refuses leases, whoever writes."""
    # A mount's line: its number, its parent's, device, …, then behind a dash the file system's type.
    mount = rf"^\d+ \d+ {os.major(device)}:{os.minor(device)} .* - (nfs|cifs|smb)"
    return re.search(mount, Path("/proc/self/mountinfo").read_text(), re.MULTILINE) is not None


def find_encoding(file: BufferedReader) -> str:
    """The file's encoding, as Python names it.

    Raises:
        RejectedFileError: empty, binary, or neither UTF-8 nor CP932.
    """
    if any(b"\0" in block for block in _blocks(file)):
        raise RejectedFileError([_binary_problem(file)])
    if file.tell() == 0:
        raise RejectedFileError([Problem("empty", may_pass=True)])
    not_utf8 = _undecodable(file, "utf-8")
    if not not_utf8:
        return "utf-8-sig"
    not_cp932 = _undecodable(file, "cp932")
    if not not_cp932:
        return "cp932"
    # What can be read further as the one than as the other is meant as the one.
    raise RejectedFileError([max(not_cp932, not_utf8, key=lambda problem: problem.line)])


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        yield block


def _binary_problem(file: BufferedReader) -> Problem:
    file.seek(0)
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem("undecodable", value="UTF-16")
    # A program that reserves a file's place first leaves zeros where it hasn't written yet.
    return Problem("not_csv", value=f"0x{start.hex(' ')}", may_pass=not any(start) or min(start) >= ord(" "))


def _undecodable(file: BufferedReader, encoding: str) -> Problem | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for block in itertools.chain(_blocks(file), (b"",)):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            shown = error.object[error.start : error.start + 8]
            return Problem("undecodable", line + error.object[: error.start].count(b"\n"), value=f"0x{shown.hex(' ')}")
        stray = _NOT_IN_CP932.search(text) if encoding == "cp932" else None
        if stray:
            return Problem("undecodable", line + text[: stray.start()].count("\n"), value=repr(stray.group()))
        line += block.count(b"\n")
    return None


@dataclass(frozen=True)
class Block:
    """Some of a file's data lines.

    Args:
        text: the lines in COPY's text format: the cells of the reader's columns, upload id, row number.
        rows: the lines' row numbers; the file's first data line is 1.
        plain: the names of columns whose cells all are plain.
    """

    text: str
    rows: range
    plain: frozenset[str]


class CsvReader:
    """Reads one file's lines as cells of its kind.

    After `blocks` is exhausted the counts and problems are complete: of blank and total lines, which are left out, and
    of data lines that end early, where only optional cells are missing. `line_numbers` has the line in the file on
    which each data line begins, the file's first line being 1; `plain` the names of the columns whose cells all are
    plain; `sums` those of net_weight (kg) and amount (yen), for the balance of the books.

    Args:
        file: open for reading.
        kind: says which headers are known.

    Raises:
        RejectedFileError: encoding or header can't be used.
    """

    def __init__(self, file: BufferedReader, kind: FileKind) -> None:
        self.encoding = find_encoding(file)
        file.seek(0)
        text = open(file.fileno(), encoding=self.encoding, newline="", closefd=False)  # noqa: SIM115
        self._reader = csv.reader(text, strict=True)
        self.counts = {"blank_lines": 0, "total_lines": 0, "short_lines": 0}
        self.line_numbers = array("I")
        self.problems: list[Problem] = []
        self.problem_count = 0
        self._rows = self._read_rows()
        header = next((row for _, row in self._rows if any(cell.strip() for cell in row)), None)
        if header is None:
            raise RejectedFileError(self.problems or [Problem("empty", may_pass=True)])
        self.columns, indices, self.unknown_headers = _match_header(header, kind, self._reader.line_num)
        self.plain = frozenset(column.name for column in self.columns)
        self._width = len(header)
        # The last cell that a line has to have: Excel drops empty ones at the end.
        self._least = 1 + max(i for column, i in zip(self.columns, indices, strict=True) if column.required)
        self._ends_in_full = os.pread(file.fileno(), 1, os.fstat(file.fileno()).st_size - 1) in b"\r\n"
        self._pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(*indices)
        self._date = indices[0]  # of every list, the slip date is the first column
        self.sums = {column.name: Decimal(0) for column in self.columns if column.name in ("net_weight", "amount")}

    @property
    def lines(self) -> int:
        """All lines below the header: data, blank and total lines."""
        return len(self.line_numbers) + self.counts["blank_lines"] + self.counts["total_lines"]

    def blocks(self, upload_id: int) -> Iterator[Block]:
        """Yield the data lines, some thousands at a time.

        Raises:
            RejectedFileError: nothing but the header is there.
        """
        data_lines = self._data_lines()
        pieces = iter(lambda: list(itertools.islice(data_lines, _PIECE_LINES)), [])
        first = 1
        # As they grow with what came before, it takes linear time to find each among all lines of its upload.
        while read := [
            self._piece(lines, upload_id)
            for lines in itertools.islice(pieces, max(_BLOCK_PIECES, first // (16 * _PIECE_LINES)))
        ]:
            texts, plain = zip(*read, strict=True)
            rows = range(first, len(self.line_numbers) + 1)
            block = Block("".join(texts), rows, frozenset.intersection(*plain))
            self.plain &= block.plain
            yield block
            first = rows.stop
        if not self.line_numbers and not self.problems:
            raise RejectedFileError([Problem("no_data_lines")])

    def _read_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each line's cells after the line in the file on which it begins."""
        number = 1
        try:
            for row in self._reader:
                yield number, row
                number = self._reader.line_num + 1
        except csv.Error as error:
            # What follows can't be told apart any more.
            code = "cell_too_large" if "field larger than field limit" in str(error) else "not_csv"
            self._add(Problem(code, self._reader.line_num, value=str(error)))

    def _data_lines(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of each data line; the other lines are counted or become problems."""
        for number, row in self._rows:
            # Nearly every line is one line, whole, and begins with its date.
            is_data = self._reader.line_num == number and len(row) == self._width and row[self._date][:1].isdecimal()
            cells = row if is_data else self._judge(row, number)
            if cells:
                self.line_numbers.append(number)
                yield self._pick(cells)
        if self.line_numbers and cells and len(row) < self._width and not self._ends_in_full:
            self._add(Problem("ragged_line", number, value=f"{len(row)} ≠ {self._width}"))

    def _piece(self, lines: list[tuple[str, ...]], upload_id: int) -> tuple[str, frozenset[str]]:
        """The text of some lines, the last ones read, and the names of the columns that are plain in them."""
        first = len(self.line_numbers) - len(lines) + 1
        plain = set()
        for column, cells in zip(self.columns, zip(*lines, strict=True), strict=True):
            if are_plain(cells, column.type):
                plain.add(column.name)
            if column.name in self.sums:
                self.sums[column.name] = _EXACT.add(self.sums[column.name], _total(cells))
        text = "".join(itertools.chain.from_iterable(lines))
        # Most pieces have nothing that COPY wants to be escaped.
        if any(special in text for special in "\\\t\n\r"):
            lines = [tuple(cell.translate(_TRANSLATION) for cell in cells) for cells in lines]
        rows = [f"{line}\t{upload_id}\t{row}\n" for row, line in enumerate(map("\t".join, lines), first)]
        return "".join(rows), frozenset(plain)

    def _swallows_lines(self, row: list[str]) -> bool:
        """True if a cell holds the end of a line and the beginning of another, as between two stray quotes."""
        return any(cell.count(",") >= self._width - 1 for cell in row if "\n" in cell or "\r" in cell)

    def _judge(self, row: list[str], number: int) -> list[str]:
        """Give the cells of a line that holds data; count another, or make it a problem, and give none."""
        cells = [unicodedata.normalize("NFKC", cell).strip() for cell in row]
        totals = [_TOTAL.fullmatch(cell) for cell in cells]
        dated = len(cells) > self._date and cells[self._date] and not totals[self._date]
        if self._reader.line_num > number and self._swallows_lines(row):
            self._add(Problem("cell_too_large", number))
        elif not any(cells):
            self.counts["blank_lines"] += 1
        elif not dated and any(totals):
            self.counts["total_lines"] += 1
        elif dated and self._least <= len(row) <= self._width:
            self.counts["short_lines"] += len(row) < self._width
            return row + [""] * (self._width - len(row))
        elif len(row) != self._width:
            self._add(Problem("ragged_line", number, value=f"{len(row)} ≠ {self._width}"))
        else:
            self._add(Problem("missing_date", number, header=self.columns[0].header))
        return []

    def _add(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < REPORT_LIMIT:
            self.problems.append(problem)


def _match_header(header: list[str], kind: FileKind, line: int) -> tuple[list[Column], list[int], list[str]]:
    known = {_plain(column.header): column for column in kind.columns}
    found: dict[str, int] = {}
    problems: list[Problem] = []
    unknown: list[str] = []
    for index, text in enumerate(header):
        column = known.get(_plain(text))
        if column is None:
            unknown.append(text)
        elif column.name in found:
            problems.append(Problem("duplicated_header", line, header=column.header))
        else:
            found[column.name] = index
    if not found:
        raise RejectedFileError([Problem("not_csv", line, value=",".join(header))])
    problems += [
        Problem("missing_header", line, header=column.header)
        for column in kind.columns
        if column.required and column.name not in found
    ]
    if problems:
        raise RejectedFileError(problems)
    columns = [column for column in kind.columns if column.name in found]
    return columns, [found[column.name] for column in columns], unknown


def _plain(header: str) -> str:
    """A header without what exports vary in: blanks, byte order marks, and full or half width."""
    return "".join(unicodedata.normalize("NFKC", header).replace("\ufeff", "").split())


def _total(cells: Iterable[str]) -> Decimal:
    """The sum of some numbers; whole ones, as nearly all are, are added as such."""
    whole = 0
    total = Decimal(0)
    for cell in cells:
        if cell.isdecimal() and len(cell) <= _DIGITS:
            whole += int(cell)
        else:
            total = _EXACT.add(total, _decimal(cell))
    return _EXACT.add(total, whole)


def _decimal(cell: str) -> Decimal:
    """A number as the file has it, for the balance of the books; what is no number is judged elsewhere."""
    try:
        text = unicodedata.normalize("NFKC", cell).replace(",", "").replace("−", "-").strip()
        value = Decimal(text.removeprefix('="').removesuffix('"'))
    except InvalidOperation:
        return Decimal(0)
    # No cell that can be read is that large, and a sum of larger ones would overflow.
    return value if value.is_finite() and value.adjusted() < _DIGITS else Decimal(0)
