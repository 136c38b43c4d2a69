"""What a finding is, and the words it is told in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlglot.errors import ParseError, SqlglotError


class Rule(StrEnum):
    """What a finding is about."""

    FILE_NAME = "file-name"
    HEADER = "header"
    FIELD = "field"
    KEY = "key"
    CRITICALITY = "criticality"
    INDEX = "index"
    PICTURE = "picture"
    QUERY = "query"
    STAR = "star"
    SCHEMA = "schema"
    UNKNOWN_RELATION = "unknown-relation"
    CLOCK = "clock"
    VOLATILE = "volatile"
    LINES = "lines"
    CIRCLE = "circle"
    DASHBOARD = "dashboard"


@dataclass(frozen=True)
class Finding:
    """One fault of one file.

    Args:
        path: the file.
        line: where, counted from 1; None where no line says it.
        rule: what it is about.
        wrong: what is wrong, a sentence.
        instead: what to write or do instead, a sentence.
    """

    path: Path
    line: int | None
    rule: Rule
    wrong: str
    instead: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.rule}: {self.wrong} {self.instead}"


def listed(names: Sequence[str]) -> str:
    """Names, one behind the other."""
    return ", ".join(names)


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def sql_reason(error: SqlglotError) -> str:
    """Why a SQL text can't be read, without the text itself."""
    details = error.errors if isinstance(error, ParseError) else []
    return one_line(details[0]["description"] if details else str(error)).rstrip(".")
