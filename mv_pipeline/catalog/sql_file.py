"""Reads a SQL file and the file of dashboards, however broken, and collects what can't be read as violations.

A file is a header (YAML in the first comment) and a SELECT. Files that can be read are judged in `lint`.
"""

import difflib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from mv_pipeline.catalog.relations import Dashboard, Header, Relation, parse_query

DASHBOARDS = "dashboards.yaml"
_REQUIRED = {"description": "", "description_en": "", "owner": "team:unknown"}


class Rule(StrEnum):
    """What a violation is about."""

    FILE_NAME = "file-name"
    HEADER = "header"
    FIELD = "field"
    KEY = "key"
    CRITICALITY = "criticality"
    ROLLUP = "rollup"
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
class Violation:
    """Something that is wrong in one file.

    Args:
        path: the file.
        line: counted from 1; None where the violation has no line.
        rule: what it is about.
        message: what is wrong, a sentence.
        fix: what to write or do instead, a sentence.
    """

    path: Path
    line: int | None
    rule: Rule
    message: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.rule}: {self.message} {self.fix}"


class SqlFile:
    """One SQL file.

    Args:
        path: the file; its folder and name are the relation's schema and name.

    Attributes:
        relation: as far as it can be read: without the fields whose values are invalid, without columns and tables if
            its SELECT can't be parsed.
        field_lines: the header's fields in order, with their lines; a field that is written twice is in it twice.
        violations: what is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.violations: list[Violation] = []
        self.field_lines: list[tuple[str, int]] = []
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        if "\ufffd" in text:
            self.add(None, Rule.HEADER, "The file isn't encoded in UTF-8.", "Save it again as UTF-8.")
        header, rest = split_header(text)
        line = _line_at(text, rest)
        query = self._readable(rest.strip().rstrip(";"), line)
        self.relation = Relation(f"{path.parent.name}.{path.stem}", Header.model_validate(_REQUIRED), query, line)
        self._first_line = _line_at(text, text)
        if header is None:
            fix = "Begin it with /* description: … */; `mv-pipeline new` writes one."
            self.add(1, Rule.HEADER, "The file doesn't begin with a header.", fix)
        else:
            self._read_header(header)

    def add(self, line: int | None, rule: Rule, message: str, fix: str) -> None:
        """Add a violation."""
        self.violations.append(Violation(self.path, line, rule, message, fix))

    def line_of(self, field: str) -> int:
        """The line of a header's field, or else where the header begins."""
        return dict(self.field_lines).get(field, self._first_line)

    def query_line(self, node: exp.Expr | None) -> int | None:
        """The line of a part of the query; of a part that has no position, the line of what contains it."""
        while node is not None:
            lines = [int(part.meta["line"]) for part in node.walk() if "line" in part.meta]
            if lines:
                return self.relation.line - 1 + min(lines)
            node = node.parent
        return None

    def _readable(self, query: str, first_line: int) -> str:
        """The query, or one that reads nothing if it can't be used."""
        try:
            if parse_query(query) is not None:
                return query
            fix = "Write a single SELECT (or WITH … SELECT); the pipeline itself makes CREATE and REFRESH of it."
            self.add(first_line, Rule.QUERY, "This isn't one SELECT.", fix)
        except SqlglotError as error:
            line = error.errors[0].get("line") if isinstance(error, ParseError) and error.errors else None
            message = f"The SQL can't be parsed: {sql_reason(error)}."
            self.add(first_line - 1 + line if line else None, Rule.QUERY, message, "Correct it; psql says more.")
        return "SELECT"

    def _read_header(self, text: str) -> None:
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
            content = loader.construct_document(node) if node else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.add(
                self._first_line + mark.line if mark else None,
                Rule.HEADER,
                f"The header is no YAML: {one_line(getattr(error, 'problem', None) or str(error))}.",
                "Write `field: value`, and put a text that holds a colon or begins with a sign into quotes.",
            )
            return
        if not isinstance(node, yaml.MappingNode) or not content:
            fix = f"Write at least {', '.join(_REQUIRED)}."
            self.add(self._first_line, Rule.HEADER, "The header has no fields.", fix)
            return
        self.field_lines = [(str(key.value), self._first_line + key.start_mark.line) for key, _ in node.value]
        fields = {str(name): value for name, value in content.items()}
        invalid: set[str] = set()
        try:
            Header.model_validate(fields)
        except ValidationError as error:
            for issue in error.errors():
                field = str(issue["loc"][0])
                invalid.add(field)
                place, reason = ".".join(map(str, issue["loc"])), one_line(issue["msg"].removeprefix("Value error, "))
                self.add(self.line_of(field), *_field_violation(field, place, issue["type"], reason))
        valid = {name: value for name, value in fields.items() if name not in invalid}
        self.relation = replace(self.relation, header=Header.model_validate(_REQUIRED | valid))
        self._check_header(invalid)

    def _check_header(self, invalid: set[str]) -> None:
        header = self.relation.header
        materialized = self.relation.materialized
        for field in ("days", "balance"):
            if getattr(header, field) and len(header.key) != 1:
                message = f"`{field}` needs a key of one column, the day."
                self.add(self.line_of(field), Rule.FIELD, message, f"Write `key: [ddate]`, or leave out `{field}`.")
        if self.relation.kind == "rollup" and not (header.day in header.key or invalid & {"day", "key"}):
            message = "A rollup needs the column that is the day, in a key that identifies a row."
            fix = "Write `day: ddate` and `key: [ddate, …]`: what the SELECT groups by, never NULL."
            self.add(self.line_of("day"), Rule.ROLLUP, message, fix)
        if materialized and not header.key and "key" not in invalid:
            message = "A materialized view needs a key, or it can't be refreshed while people read it."
            fix = "Write `key: [column, …]`: the columns that identify a row and are never NULL."
            self.add(self.line_of("key"), Rule.KEY, message, fix)
        if materialized and not header.criticality and "criticality" not in invalid:
            fix = "Write `criticality: critical` if a run has to fail without this view, else `criticality: optional`."
            self.add(self.line_of("criticality"), Rule.CRITICALITY, "`criticality` is missing.", fix)


def split_header(text: str) -> tuple[str | None, str]:
    """A SQL text's first comment, which is its header, and the rest; None and all where it begins with no comment."""
    comment, closed, rest = text.lstrip().partition("*/")
    if comment.startswith("/*") and closed:
        return comment.removeprefix("/*"), rest
    return None, text


def _line_at(text: str, end: str) -> int:
    """The line on which the last part of a text begins, blanks before it left out."""
    return text[: len(text) - len(end.lstrip())].count("\n") + 1


def _field_violation(field: str, place: str, issue: str, reason: str) -> tuple[Rule, str, str]:
    rule = Rule.CRITICALITY if field == "criticality" else Rule.FIELD
    if issue == "missing":
        return rule, f"`{place}` is missing.", f"Write `{place}: …`."
    if issue == "extra_forbidden":
        close = difflib.get_close_matches(field, Header.model_fields, n=1)
        fix = f"Write `{close[0]}`." if close else f"The fields are {', '.join(Header.model_fields)}."
        return rule, f"There is no field `{place}`.", fix
    return rule, f"`{place}` can't be used: {reason}.", "docs/adding-a-view.md says what each field may hold."


def read_dashboards(sql_dir: Path) -> tuple[dict[str, Dashboard], list[Violation]]:
    """Read the file of dashboards, by name: the dashboards and models that read the views; none without a file."""
    path = sql_dir / DASHBOARDS
    if not path.exists():
        return {}, []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return TypeAdapter(dict[str, Dashboard]).validate_python(content), []
    except yaml.YAMLError as error:
        reason = f"The file is no YAML: {one_line(str(error)).rstrip('.')}."
    except ValidationError as error:
        places = (f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}" for issue in error.errors())
        reason = f"The file can't be used: {one_line('; '.join(places))}."
    return {}, [Violation(path, None, Rule.DASHBOARD, reason, "Correct the file.")]


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def sql_reason(error: SqlglotError) -> str:
    """Why a SQL text can't be parsed, without the text itself."""
    details = error.errors if isinstance(error, ParseError) else []
    return one_line(details[0]["description"] if details else str(error)).rstrip(".")
