"""What can be wrong with a file, how it is said to the office and to engineers, and the report that goes back.

The texts are in rejection.yaml. Finding problems is the business of `reader` (lines) and `cells` (values).
"""

import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

REPORT_LIMIT = 10_000
VALUE_LIMIT = 200
_FORMULA_STARTS = frozenset("=+-−@\t\r\n")


_TEXTS = yaml.safe_load(Path(__file__).with_name("rejection.yaml").read_text(encoding="utf-8"))
# Why a file can be rejected: each code, as the error report shows it, and what is said in Japanese and in English.
MESSAGES: dict[str, tuple[str, str]] = {code: (texts["ja"], texts["en"]) for code, texts in _TEXTS.items()}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        code: what kind of problem, as in `MESSAGES`.
        line: the line in the file, the header being line 1; 0 if it concerns the whole file.
        header: the column's header, if it concerns one.
        value: the offending text, shortened.
        may_pass: a file that is still being written looks like that.
    """

    code: str
    line: int = 0
    header: str = ""
    value: str = ""
    may_pass: bool = False


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
    """One printable line for the log: the first problem in Japanese and how many there are."""
    first = problems[0]
    place = f"{first.line}行目 " if first.line else ""
    what = f"{first.header}「{printable(_shorten(first.value))}」" if first.header or first.value else ""
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


def printable(text: str) -> str:
    """Text from outside as logs and messages show it: one line, with � for every character that can't be shown.

    Control characters, bidi marks and bytes that are no text could mislead whoever reads a log, and PostgreSQL refuses
    some of them. What raw and stg hold is never changed here.
    """
    return "".join(char if char.isprintable() or char == "\u3000" else "\ufffd" for char in text)


def _shorten(value: str) -> str:
    return value if len(value) <= VALUE_LIMIT else value[:VALUE_LIMIT] + "…"


def _harmless(value: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula, as it may in full width or behind blanks too."""
    seen = next((char for char in value if char in "\t\r\n" or not (char.isspace() or not char.isprintable())), "")
    return "'" + value if unicodedata.normalize("NFKC", seen) in _FORMULA_STARTS else value
