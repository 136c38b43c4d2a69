"""Reads a view's SQL file and the file of dashboards, however broken, and collects what is wrong as violations.

A file is a header (YAML in the first comment) and a SELECT. `lint` prints violations, `load_catalog` raises them; their
texts are here and nowhere else. What a file alone can't tell is judged in `relations`.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

import sqlglot
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

VIEW_SCHEMAS = ("kpi", "mart", "ref", "stg")
DASHBOARDS = "dashboards.yaml"
_NAME = re.compile(r"(mv|v)_[a-z0-9_]+")
# A name has 63 bytes in PostgreSQL, and its key's index is named <name>_key.
_LONGEST_NAME = 59
_REQUIRED = ("description", "description_en", "owner")


class Rule(StrEnum):
    """What a violation is about."""

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


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeaderCheck(_Model):
    """A check that a header states in SQL: it passes if the query returns no row."""

    description: str
    sql: str


class Balance(_Model):
    """Which column of a daily view holds the tons of which list; compared with the staging tables."""

    csv_type: str
    tons: str


class Anomaly(_Model):
    """Which days a profile's means and deviations were made of; yesterday is compared with them.

    The profile has the columns ave, sigma, n and quality; the days have ddate and the columns of its key.
    """

    days: str
    tons: str
    where: str


def _owner(value: str) -> str:
    # The graph refuses to load with any other owner.
    if not re.fullmatch(r"team:\S+|[\w.%+-]+@[\w.-]+\.[A-Za-z]{2,7}", value, re.ASCII):
        raise ValueError("a team, as in team:data-platform, or a mail address is needed")
    return value


class Header(_Model):
    """What a SQL file says of its relation.

    All but `description`, `description_en` and `owner` are for materialized views.
    """

    description: str
    description_en: str
    owner: Annotated[str, AfterValidator(_owner)]
    key: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    criticality: Literal["critical", "optional"] | None = None
    days: Literal["calendar", "until_yesterday"] | None = Field(
        None, description="the view has exactly one row for each of these days; its key is the day"
    )
    equals: str | None = Field(None, description="a relation with the same columns that must hold the same rows")
    balance: Balance | None = None
    anomaly: Anomaly | None = None
    picture: str | None = Field(None, description="the picture on the view's page; a file of `pictures`")
    reads_lines: str | None = Field(None, description="why the view reads single lines instead of the rollup")
    checks: dict[str, HeaderCheck] = {}

    @property
    def comment(self) -> str:
        """The relation's comment in the database."""
        return f"{self.description}\n{self.description_en}"


class Dashboard(_Model):
    """Something that people look at, or that computes on, at the end of the graph."""

    title: str
    description: str
    description_en: str
    owner: str
    reads: tuple[str, ...]


@cache
def parse_query(query: str) -> exp.Query | None:
    """Parse a SELECT, each text once; None if it is not exactly one SELECT.

    Raises:
        SqlglotError: the text can't be parsed.
    """
    statements = sqlglot.parse(query, dialect="postgres")
    return statements[0] if len(statements) == 1 and isinstance(statements[0], exp.Query) else None


def tables_read(tree: exp.Query) -> list[exp.Table]:
    """The relations that a query reads, also those without schema; its own CTEs and functions are not among them."""
    with_names = {cte.alias for cte in tree.find_all(exp.CTE)}
    return [
        table
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.Identifier) and (table.db or table.name not in with_names)
    ]


class SqlFile:
    """One SQL file, as far as it can be read.

    Args:
        path: the file; its folder and name are the relation's schema and name.
        pictures: the pictures that a header may name; None: any.

    Attributes:
        header: without the fields whose values are invalid.
        field_lines: the header's fields in order, with their lines; a field that is written twice is in it twice.
        query: the SELECT.
        line: the line on which the SELECT begins.
        tree: the SELECT, parsed; None if it can't be.
        violations: what is wrong with it.
    """

    def __init__(self, path: Path, pictures: Collection[str] | None = None) -> None:
        self.path = path
        self.name = f"{path.parent.name}.{path.stem}"
        self.materialized = path.stem.startswith("mv_")
        self.violations: list[Violation] = []
        self.field_lines: list[tuple[str, int]] = []
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        if "\ufffd" in text:
            self.add(None, Rule.HEADER, "The file isn't encoded in UTF-8.", "Save it again as UTF-8.")
        comment, closed, rest = text.lstrip().partition("*/")
        has_header = comment.startswith("/*") and bool(closed)
        rest = rest if has_header else text
        self.query = rest.strip().rstrip(";")
        self.line = _line_at(text, rest)
        self.header = _as_far_as_valid({}, set())
        if has_header:
            self._read_header(comment.removeprefix("/*"), _line_at(text, text), pictures)
        else:
            fix = "Begin it with /* description: … */; `mv-pipeline new` writes one."
            self.add(1, Rule.HEADER, "The file doesn't begin with a header.", fix)
        self.tree = self._parse()

    def add(self, line: int | None, rule: Rule, message: str, fix: str) -> None:
        """Add a violation."""
        self.violations.append(Violation(self.path, line, rule, message, fix))

    def line_of(self, field: str) -> int | None:
        """The line of a header's field."""
        return dict(self.field_lines).get(field)

    def query_line(self, node: exp.Expr | None) -> int | None:
        """The line of a part of the query; of a part that has no position, the line of what contains it."""
        while node is not None:
            lines = [int(part.meta["line"]) for part in node.walk() if "line" in part.meta]
            if lines:
                return self.line - 1 + min(lines)
            node = node.parent
        return None

    @cached_property
    def tables(self) -> list[exp.Table]:
        """The relations that the SELECT reads, also those without schema."""
        return tables_read(self.tree) if self.tree else []

    @property
    def reads(self) -> frozenset[str]:
        """The names of the relations that the SELECT reads, those without schema left out."""
        return frozenset(f"{table.db}.{table.name}" for table in self.tables if table.db)

    @property
    def output(self) -> list[str] | None:
        """The names of the SELECT's columns; None if a star hides them."""
        if self.tree is None or "*" in self.tree.named_selects or self.tree.is_star:
            return None
        return self.tree.named_selects

    def _read_header(self, text: str, first_line: int, pictures: Collection[str] | None) -> None:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            content = loader.construct_document(node) if node else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.add(
                first_line + mark.line if mark else None,
                Rule.HEADER,
                f"The header is no YAML: {one_line(getattr(error, 'problem', None) or str(error))}.",
                "Write `field: value`, and put a text that holds a colon or begins with a sign into quotes.",
            )
            return
        if not isinstance(node, yaml.MappingNode) or not content:
            self.add(first_line, Rule.HEADER, "The header has no fields.", f"Write at least {', '.join(_REQUIRED)}.")
            return
        self.field_lines = [(str(key.value), first_line + key.start_mark.line) for key, _ in node.value]
        fields = {str(name): value for name, value in content.items()}
        invalid: set[str] = set()
        try:
            Header.model_validate(fields)
        except ValidationError as error:
            for issue in error.errors():
                field = str(issue["loc"][0])
                invalid.add(field)
                place, reason = ".".join(map(str, issue["loc"])), one_line(issue["msg"].removeprefix("Value error, "))
                self.add(self.line_of(field) or first_line, *_field_violation(field, place, issue["type"], reason))
        self.header = _as_far_as_valid(fields, invalid)
        for field in ("days", "balance"):
            if getattr(self.header, field) and len(self.header.key) != 1:
                message = f"`{field}` needs a key of one column, the day."
                self.add(self.line_of(field), Rule.FIELD, message, f"Write `key: [ddate]`, or leave out `{field}`.")
        if pictures is not None and self.header.picture not in (None, *pictures):
            message = f"There is no picture “{self.header.picture}”."
            fix = f"Write one of {', '.join(pictures)}, or leave it out."
            self.add(self.line_of("picture"), Rule.PICTURE, message, fix)
        if self.materialized and not self.header.key and "key" not in invalid:
            self.add(
                self.line_of("key") or first_line,
                Rule.KEY,
                "A materialized view needs a key, or it can't be refreshed while people read it.",
                "Write `key: [column, …]`: the columns that identify a row and are never NULL.",
            )
        if self.materialized and not self.header.criticality and "criticality" not in invalid:
            self.add(
                self.line_of("criticality") or first_line,
                Rule.CRITICALITY,
                "`criticality` is missing.",
                "Write `criticality: critical` if a run has to fail without this view, else `criticality: optional`.",
            )

    def _parse(self) -> exp.Query | None:
        try:
            tree = parse_query(self.query)
        except SqlglotError as error:
            line = error.errors[0].get("line") if isinstance(error, ParseError) and error.errors else None
            message = f"The SQL can't be parsed: {sql_reason(error)}."
            self.add(self.line - 1 + line if line else None, Rule.QUERY, message, "Correct it; psql says more.")
            return None
        if tree is None:
            fix = "Write a single SELECT (or WITH … SELECT); the pipeline itself makes CREATE and REFRESH of it."
            self.add(self.line, Rule.QUERY, "This isn't one SELECT.", fix)
        return tree


def _line_at(text: str, end: str) -> int:
    """The line on which the last part of a text begins, blanks before it left out."""
    return text[: len(text) - len(end.lstrip())].count("\n") + 1


def _as_far_as_valid(fields: dict[str, object], invalid: set[str]) -> Header:
    valid = {name: value for name, value in fields.items() if name not in invalid}
    return Header.model_validate({"description": "", "description_en": "", "owner": "team:unknown", **valid})


def _field_violation(field: str, place: str, issue: str, reason: str) -> tuple[Rule, str, str]:
    rule = Rule.CRITICALITY if field == "criticality" else Rule.FIELD
    if issue == "missing":
        return rule, f"`{place}` is missing.", f"Write `{place}: …`."
    if issue == "extra_forbidden":
        close = difflib.get_close_matches(field, Header.model_fields, n=1)
        fix = f"Write `{close[0]}`." if close else f"The fields are {', '.join(Header.model_fields)}."
        return rule, f"There is no field `{place}`.", fix
    return rule, f"`{place}` can't be used: {reason}.", "docs/adding-a-view.md says what each field may hold."


def name_violations(name: str) -> Iterator[tuple[str, str]]:
    """Say why a view can't have this name, and what to do."""
    schema, _, table = name.partition(".")
    if schema not in VIEW_SCHEMAS:
        yield f"“{schema}” is no schema that holds views.", f"Use one of {', '.join(VIEW_SCHEMAS)}."
    if not _NAME.fullmatch(table):
        yield f"“{table}” is no name of a view.", "Name it mv_… or v_…, in small letters, digits and underscores."
    elif len(table) > _LONGEST_NAME:
        message = f"The name has {len(table)} letters, and PostgreSQL would cut the name of its index."
        yield message, f"Use at most {_LONGEST_NAME}."


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


def instead_of(name: str, known: Iterable[str]) -> str:
    """Say what to write instead of a relation that doesn't exist."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return "Add it first, as a file of its own or, for a table, to the catalogue."
