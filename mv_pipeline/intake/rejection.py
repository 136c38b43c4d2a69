"""What can be wrong with a file, in words for the office and for engineers, and the report that goes back.

Finding problems is the business of `reader` (lines) and `cells` (values).
"""

import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mv_pipeline.intake.printable import readable

REPORT_LIMIT = 10_000
VALUE_LIMIT = 200
_FORMULA_STARTS = frozenset("=+-−@\t\r\n")


class Code(StrEnum):
    """Why a file is rejected; the value is what the error report shows."""

    NOT_CSV = "not_csv"
    UNDECODABLE = "undecodable"
    EMPTY = "empty"
    NO_DATA_LINES = "no_data_lines"
    MISSING_HEADER = "missing_header"
    DUPLICATED_HEADER = "duplicated_header"
    RAGGED_LINE = "ragged_line"
    CELL_TOO_LARGE = "cell_too_large"
    BAD_NUMBER = "bad_number"
    BAD_INTEGER = "bad_integer"
    BAD_DATE = "bad_date"
    BAD_TIME = "bad_time"
    MISSING_DATE = "missing_date"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    TOO_LARGE = "too_large"


MESSAGES: dict[Code, tuple[str, str]] = {
    Code.NOT_CSV: (
        "CSVファイルとして読めません。将軍からCSV形式で出力し直してください。",
        "This can't be read as a CSV file of this kind; export it again as CSV.",
    ),
    Code.UNDECODABLE: (
        "文字コードが読めません。Shift_JIS（CP932）またはUTF-8で保存してください。",
        "The text is neither CP932 nor UTF-8; save it as one of them.",
    ),
    Code.EMPTY: ("ファイルが空です。", "The file is empty."),
    Code.NO_DATA_LINES: ("データ行がありません。", "The file has no data line."),
    Code.MISSING_HEADER: (
        "必須の列がありません。1行目の見出しを確認してください。",
        "A required column is missing; look at the header line.",
    ),
    Code.DUPLICATED_HEADER: ("同じ見出しの列が2つ以上あります。", "The same header stands more than once."),
    Code.RAGGED_LINE: (
        "列の数が見出しと違います。値の中のカンマや引用符を確認してください。",
        "The line has another number of cells than the header; look for stray commas or quotes.",
    ),
    Code.CELL_TOO_LARGE: (
        '1つのセルが長すぎます。引用符（"）の閉じ忘れがないか確認してください。',
        "A cell is too long; look for a quote that is never closed.",
    ),
    Code.BAD_NUMBER: (
        "数値として読めません（整数部は12桁まで）。",
        "This is no number, or has more than twelve digits before the point.",
    ),
    Code.BAD_INTEGER: (
        "整数として読めません（-2147483648〜2147483647）。",
        "This is no whole number between -2147483648 and 2147483647.",
    ),
    Code.BAD_DATE: (
        "日付として読めません。2025/12/01 の形で、実在する日を入力してください。",
        "This is no date; write a real day as in 2025/12/01.",
    ),
    Code.BAD_TIME: ("時刻として読めません。8:31 の形で入力してください。", "This is no time; write it as in 8:31."),
    Code.MISSING_DATE: ("伝票日付がありません。", "The slip date is missing."),
    Code.DATE_OUT_OF_RANGE: (
        "伝票日付が暦の範囲（2021-01-01〜来年末）にありません。",
        "The slip date lies outside the calendar (2021-01-01 to the end of next year).",
    ),
    Code.TOO_LARGE: (
        "ファイルが大きすぎます。期間を分けて出力してください。",
        "The file is too large; export shorter periods.",
    ),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        code: what kind of problem.
        line: the line in the file, the header being line 1; 0 if it concerns the whole file.
        header: the column's header, if it concerns one.
        value: the offending text, shortened.
    """

    code: Code
    line: int = 0
    header: str = ""
    value: str = ""


class RejectedFileError(Exception):
    """A file can't be taken; carries every problem that was found.

    Args:
        problems: at most `REPORT_LIMIT` of them, in the order of lines.
        count: how many there are in all.
    """

    def __init__(self, problems: Sequence[Problem], count: int | None = None) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.header))[:REPORT_LIMIT]
        self.count = len(problems) if count is None else count
        super().__init__(summary(self.problems, self.count))


def summary(problems: Sequence[Problem], count: int) -> str:
    """One readable line for the log: the first problem in Japanese and how many there are."""
    first = problems[0]
    place = f"{first.line}行目 " if first.line else ""
    what = f"{first.header}「{readable(_shorten(first.value))}」" if first.header or first.value else ""
    more = f"（ほか{count - 1}件）" if count > 1 else ""
    return f"{place}{what}{'：' if place or what else ''}{MESSAGES[first.code][0]}{more} [{first.code}]"


def write_report(path: Path, error: RejectedFileError) -> None:
    """Write the error report that goes back to the office: UTF-8 with BOM, so that a spreadsheet shows it right.

    Args:
        path: is overwritten.
        error: what was found.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["行 line", "見出し header", "値 value", "コード code", "説明", "message"])
        for problem in error.problems:
            cells = [str(problem.line or ""), problem.header, _shorten(problem.value), problem.code]
            writer.writerow([*map(_harmless, cells), *MESSAGES[problem.code]])
        if error.count > len(error.problems):
            rest = error.count - len(error.problems)
            writer.writerow(["", "", "", "", f"ほかに{rest}件あります。", f"There are {rest} more."])


def _shorten(value: str) -> str:
    return value if len(value) <= VALUE_LIMIT else value[:VALUE_LIMIT] + "…"


def _harmless(value: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula, as it may in full width or behind blanks too."""
    seen = next((char for char in value if char in "\t\r\n" or not (char.isspace() or not char.isprintable())), "")
    return "'" + value if unicodedata.normalize("NFKC", seen) in _FORMULA_STARTS else value
