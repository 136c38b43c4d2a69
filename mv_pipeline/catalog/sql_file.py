"""Reads the SQL files and the file of dashboards, however broken, and collects what is wrong as violations.

A file is a header (YAML in the first comment) and a SELECT. `lint` prints violations, `load_catalog` raises them.
What the catalogue takes, but would show in the data or never, is judged in `lint`.
"""

import difflib
import graphlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog, Dashboard, Header, Relation, made_relations, parse_query
from mv_pipeline.catalog.tables import TABLES
from mv_pipeline.settings import OperatorError

VIEW_SCHEMAS = ("kpi", "mart", "ref", "stg")
DASHBOARDS = "dashboards.yaml"
_NAME = re.compile(r"(mv|v)_[a-z0-9_]+")
# A name has 63 bytes in PostgreSQL, and its key's index is named <name>_key.
_LONGEST_NAME = 59
_REQUIRED = {"description": "", "description_en": "", "owner": "team:unknown"}


class CatalogError(OperatorError):
    """The SQL files can't be used; the message says in a line for each violation what to change."""


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
        comment, closed, rest = text.lstrip().partition("*/")
        has_header = comment.startswith("/*") and bool(closed)
        rest = rest if has_header else text
        line = _line_at(text, rest)
        query = self._readable(rest.strip().rstrip(";"), line)
        self.relation = Relation(f"{path.parent.name}.{path.stem}", Header.model_validate(_REQUIRED), query, line)
        self._first_line = _line_at(text, text)
        if has_header:
            self._read_header(comment.removeprefix("/*"))
        else:
            fix = "Begin it with /* description: … */; `mv-pipeline new` writes one."
            self.add(1, Rule.HEADER, "The file doesn't begin with a header.", fix)

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
        loader = yaml.SafeLoader(text)
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
        header, materialized = self.relation.header, self.relation.materialized
        for field in ("days", "balance"):
            if getattr(header, field) and len(header.key) != 1:
                message = f"`{field}` needs a key of one column, the day."
                self.add(self.line_of(field), Rule.FIELD, message, f"Write `key: [ddate]`, or leave out `{field}`.")
        if materialized and not header.key and "key" not in invalid:
            message = "A materialized view needs a key, or it can't be refreshed while people read it."
            fix = "Write `key: [column, …]`: the columns that identify a row and are never NULL."
            self.add(self.line_of("key"), Rule.KEY, message, fix)
        if materialized and not header.criticality and "criticality" not in invalid:
            fix = "Write `criticality: critical` if a run has to fail without this view, else `criticality: optional`."
            self.add(self.line_of("criticality"), Rule.CRITICALITY, "`criticality` is missing.", fix)


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


class SqlFolder:
    """Every SQL file of a folder as far as it can be read, and what is wrong with them.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Attributes:
        files: by the relation's name.
        known: what a view may read: the files' relations, those that are made from the CSV kinds, and the tables.
        others: what is wrong with files other than those.
        catalog: all relations; none if they read each other in a circle.

    Raises:
        CatalogError: the folder has no SQL file.
    """

    def __init__(self, sql_dir: Path, pictures: Collection[str] | None = None) -> None:
        if not any(sql_dir.rglob("*.sql")):
            raise CatalogError(f"There is no SQL file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
        self.sql_dir = sql_dir
        files = [SqlFile(path) for path in sorted(sql_dir.glob("*/*.sql"))]
        self.files = {file.relation.name: file for file in files}
        relations = [*made_relations(), *(file.relation for file in files)]
        tables = (*(f"{layer}.{kind.name}" for layer in ("raw", "stg") for kind in KINDS), *(t.name for t in TABLES))
        self.known = {*tables, *(relation.name for relation in relations)}
        dashboards, self.others = read_dashboards(sql_dir)
        try:
            self.catalog = Catalog(relations, dashboards)
        except graphlib.CycleError as error:
            self.catalog = Catalog([])
            circle = error.args[1]
            file = next(self.files[name] for name in circle if name in self.files)
            message = f"Relations read each other in a circle: {' → '.join(circle)}."
            file.add(None, Rule.CIRCLE, message, "Let one of them read what the other is made of.")
        optional = {view.name for view in self.catalog.materialized_views if view.header.criticality == "optional"}
        for file in files:
            self._check_references(file, pictures)
            if file.relation.header.criticality == "critical":
                self._check_criticality(file, optional)
        for name, dashboard in dashboards.items():
            for unknown in set(dashboard.reads) - self.known:
                message = f"The dashboard “{name}” reads {unknown}, which doesn't exist."
                fix, path = instead_of(unknown, self.known), sql_dir / DASHBOARDS
                self.others.append(Violation(path, None, Rule.DASHBOARD, message, fix))

    @property
    def violations(self) -> list[Violation]:
        """What is wrong with files, by file and line; each once."""
        found = set(self.others).union(*(file.violations for file in self.files.values()))
        return sorted(found, key=lambda one: (one.path, one.line or 0, one.rule, one.message))

    def _check_references(self, file: SqlFile, pictures: Collection[str] | None) -> None:
        for message, fix in taken_name(file.relation.name):
            file.add(None, Rule.FILE_NAME, message, fix)
        for table in file.relation.tables:
            name = f"{table.db}.{table.name}" if table.db else table.name
            if not table.db:
                alike = [known for known in sorted(self.known) if known.endswith(f".{name}")] or [f"mart.{name}"]
                fix = f"Write {' or '.join(alike)}."
                file.add(file.query_line(table), Rule.SCHEMA, f"“{name}” has no schema.", fix)
            elif name not in self.known:
                fix = instead_of(name, self.known)
                file.add(file.query_line(table), Rule.UNKNOWN_RELATION, f"There is no {name}.", fix)
        header = file.relation.header
        for field, named in (("equals", header.equals), ("anomaly", header.anomaly and header.anomaly.days)):
            if named and named not in self.known:
                message, fix = f"`{field}` names {named}, which doesn't exist.", instead_of(named, self.known)
                file.add(file.line_of(field), Rule.UNKNOWN_RELATION, message, fix)
        if pictures is not None and header.picture not in (None, *pictures):
            message = f"There is no picture “{header.picture}”."
            fix = f"Write one of {', '.join(pictures)}, or leave it out."
            file.add(file.line_of("picture"), Rule.PICTURE, message, fix)

    def _check_criticality(self, file: SqlFile, optional: set[str]) -> None:
        for name in sorted(self.catalog.upstream(file.relation.name) & optional):
            inputs = sorted(file.relation.dependencies)
            first = next(other for other in inputs if name in (other, *self.catalog.upstream(other)))
            through = "" if first == name else f" through {first}"
            message = (
                f"A critical view reads {name}{through}, which is optional: when that can't be refreshed, "
                "this view isn't either, and no run fails."
            )
            fix = "Make both critical, or both optional."
            file.add(file.line_of("criticality"), Rule.CRITICALITY, message, fix)


def load_catalog(sql_dir: Path, pictures: Collection[str] | None = None) -> Catalog:
    """Read every SQL file below the folder, and make the views that follow from the CSV kinds.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Raises:
        CatalogError: files can't be used; every violation of every file is in it.
    """
    folder = SqlFolder(sql_dir, pictures)
    if folder.violations:
        raise CatalogError(f"The SQL files in {sql_dir} can't be used:", tuple(map(str, folder.violations)))
    return folder.catalog


def taken_name(name: str) -> Iterator[tuple[str, str]]:
    """Say that a view of this name is made from the CSV kinds, and what to do."""
    if name in {relation.name for relation in made_relations()}:
        yield f"{name} is made from the CSV kinds already.", "Choose another name."
