"""A check: what must hold, how that is examined and what to do if it doesn't; most are one SQL query and a sentence."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from mv_pipeline.catalog.sql_file import split_header
from mv_pipeline.database.connection import Connection

Severity = Literal["ERROR", "WARN"]
Metadata = dict[str, str | int | float]

_QUERIES = Path(__file__).with_name("queries")
# In a message, and in the figures behind it.
_SHOWN = 3
_KEPT = 10
Excuse = Callable[[Connection], str]
"""Says why what a check finds is no fault, as the end of a sentence; empty: it is one."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Args:
        passed: whether it holds.
        message: what was found and what was expected.
        metadata: the figures behind the message.
        remedy: what to do; empty: the check's own remedy, or none is needed.
    """

    passed: bool
    message: str
    metadata: Metadata
    remedy: str = ""

    @property
    def text(self) -> str:
        """The message, and the remedy if there is one."""
        return f"{self.message} {self.remedy}".rstrip()


@dataclass(frozen=True)
class Check:
    """One check of one table or view.

    Args:
        name: unique for what is checked.
        description: what must hold.
        run: examines it with what `evaluate` is given, a connection but for the retention; `evaluate` adds the remedy.
        remedy: what to do if it fails; every reader of a failed check is told this and no other.
        severity: only an ERROR is an alert.
        nightly: it reads everything, so no upload waits for it.
        excuse: asked in the snapshot in which the check found something; None: `run` sees to that itself.
    """

    name: str
    description: str
    run: Callable[..., CheckResult]
    remedy: str
    severity: Severity = "ERROR"
    nightly: bool = False
    excuse: Excuse | None = None

    def evaluate(self, *given: Any) -> CheckResult:
        """Run the check; a result that failed has a remedy, one that passed has none."""
        result = self.run(*given) if self.excuse is None else self._judge(self.excuse, *given)
        return replace(result, remedy="" if result.passed else result.remedy or self.remedy)

    def _judge(self, excuse: Excuse, connection: Connection) -> CheckResult:
        """Run it in one snapshot, and ask for an excuse in the same.

        A fault is found twice: rows of a plain REFRESH show in snapshots that are older than what it read.
        """
        for _ in range(2):
            with one_snapshot(connection):
                result = self.run(connection)
                reason = "" if result.passed else excuse(connection)
            if reason:
                return replace(result, passed=True, message=f"{result.message} This is no fault: {reason}.")
            if result.passed:
                break
        return result


@contextlib.contextmanager
def one_snapshot(connection: Connection) -> Iterator[None]:
    """A transaction whose statements all see the same state; within another transaction, as much as that one sees."""
    is_outermost = connection.info.transaction_status is TransactionStatus.IDLE
    with connection.transaction():
        if is_outermost:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def never(connection: Connection) -> str:  # noqa: ARG001  # an excuse is asked of a connection
    """No excuse: a check that is right in any one snapshot."""
    return ""


def sql_check(file: str, parts: Mapping[str, sql.Composable], excuse: Excuse = never, **params: Any) -> Check:
    """Make a check of a file in `queries`: a header, YAML in the first comment, and the query.

    The query gives one row: `passed`, and the figures, whose names are those in the message and the metadata; a text
    `said` is for the message only. An array shows its first elements in the message, none if it is empty.
    The header has the fields of `Check`, the message, and `no_row`: the message if the query gives no row, which
    passes. Its name is the file's if it has none.

    Args:
        file: the file's name without .sql.
        parts: what the query's `{…}` are.
        excuse: as in `Check`.
        params: what the query's `%(…)s` and the header's `{…}` are.
    """
    header, text = _read_query(file)
    query = sql.SQL(text).format(**parts)

    def run(connection: Connection) -> CheckResult:
        figures = connection.cursor(row_factory=dict_row).execute(query, params).fetchone()
        if figures is None:
            return CheckResult(True, header["no_row"], {})
        passed = bool(figures.pop("passed"))
        shown = {key: places(value) if isinstance(value, list) else value for key, value in figures.items()}
        metadata = {key: _figure(value) for key, value in figures.items() if key != "said"}
        return CheckResult(passed, header["message"].format(**params | shown), metadata)

    name, description, remedy = (header[field].format(**params) for field in ("name", "description", "remedy"))
    return Check(name, description, run, remedy, header["severity"], excuse=excuse)


@cache
def _read_query(file: str) -> tuple[dict[str, Any], str]:
    header, query = split_header((_QUERIES / f"{file}.sql").read_text(encoding="utf-8"))
    return {"name": file, "severity": "ERROR", **yaml.safe_load(header or "")}, query


def first_of(items: Sequence[object], at_most: int, separator: str = ", ") -> str:
    """The first of some things, and how many more there are."""
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return separator.join(map(str, items[:at_most])) + more


def places(wrong: Sequence[object]) -> str:
    """The first places where something is wrong, as the end of a sentence; nothing if there are none."""
    return f"; {first_of(wrong, _SHOWN, '; ')}" if wrong else ""


def _figure(value: object) -> str | int | float:
    if isinstance(value, list):
        return "; ".join(map(str, value[:_KEPT])) or "none"
    return str(value) if isinstance(value, date | Decimal) else value  # type: ignore[return-value]
