"""Faults of a file's name and of its header."""

import difflib
import re
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from mv_pipeline.catalog.lint.files import SqlFile
from mv_pipeline.catalog.lint.findings import Finding, Rule, listed, one_line
from mv_pipeline.catalog.relations import Header, made_relations

VIEW_SCHEMAS = ("kpi", "mart", "ref", "stg")
NAME_PATTERN = re.compile(r"(mv|v)_[a-z0-9_]+")
# A name has 63 bytes in PostgreSQL, and its key's index is named <name>_key.
LONGEST_NAME = 59
_FOR_ALL = ("description", "description_en", "owner")


def name_faults(file: SqlFile) -> Iterator[Finding]:
    """Find what is wrong with where the file lies and how it is called."""
    schema, table = file.name.split(".")
    if schema not in VIEW_SCHEMAS:
        yield file.finding(
            None,
            Rule.FILE_NAME,
            f"“{schema}” is no schema that holds views.",
            f"Move the file to one of {listed([f'{known}/' for known in VIEW_SCHEMAS])}.",
        )
    if not NAME_PATTERN.fullmatch(table):
        yield file.finding(
            None,
            Rule.FILE_NAME,
            f"The name “{table}” says neither materialized view nor view.",
            "Name it mv_… or v_…, in small letters, digits and underscores.",
        )
    elif len(table) > LONGEST_NAME:
        yield file.finding(
            None,
            Rule.FILE_NAME,
            f"The name has {len(table)} letters, and PostgreSQL would cut the name of its index.",
            f"Use {LONGEST_NAME} at most.",
        )
    if file.name in {relation.name for relation in made_relations()}:
        yield file.finding(
            None, Rule.FILE_NAME, f"{file.name} is made from the CSV kinds already.", "Give the file another name."
        )


def header_faults(file: SqlFile) -> Iterator[Finding]:
    """Find what is wrong with the header by itself."""
    if not file.readable:
        yield file.finding(None, Rule.HEADER, "The file isn't encoded in UTF-8.", "Save it again as UTF-8.")
    if file.header_text is None:
        yield file.finding(
            1,
            Rule.HEADER,
            "The file doesn't begin with a header.",
            "Begin it with /* description: … */; `mv-pipeline new` writes one.",
        )
        return
    if file.yaml_error:
        mark = getattr(file.yaml_error, "problem_mark", None)
        problem = getattr(file.yaml_error, "problem", None) or str(file.yaml_error)
        yield file.finding(
            file.header_line(mark.line) if mark else None,
            Rule.HEADER,
            f"The header is no YAML: {one_line(problem)}.",
            "Write `field: value`, and put a text that holds a colon or begins with a sign into quotes.",
        )
        return
    if not file.fields:
        yield file.finding(
            file.header_line(0), Rule.HEADER, "The header has no fields.", f"Write {listed(_FOR_ALL)} at least."
        )
        return
    yield from _field_faults(file)
    if file.materialized:
        yield from _missing_faults(file)
    for name in file.fields:
        if not file.materialized and name in Header.model_fields and name not in _FOR_ALL:
            yield file.finding(
                file.line_of(name),
                Rule.FIELD,
                f"`{name}` says nothing of a plain view.",
                "Leave it out, or name the file mv_… to make it a materialized view.",
            )


def picture_faults(file: SqlFile, pictures: Sequence[str]) -> Iterator[Finding]:
    """Find a picture that nobody draws."""
    picture = file.fields.get("picture")
    if picture is not None and picture not in pictures:
        yield file.finding(
            file.line_of("picture"),
            Rule.PICTURE,
            f"There is no picture “{picture}”.",
            f"Write one of {listed(pictures)}, or leave it out.",
        )


def _field_faults(file: SqlFile) -> Iterator[Finding]:
    names = [name for name, _ in file.field_lines]
    for position, (name, line) in enumerate(file.field_lines):
        if name in names[:position]:
            yield file.finding(
                line, Rule.FIELD, f"`{name}` stands there twice, and only the last counts.", "Keep one of them."
            )
    try:
        Header.model_validate(file.fields)
    except ValidationError as error:
        for issue in error.errors():
            place = ".".join(map(str, issue["loc"]))
            field = str(issue["loc"][0]) if issue["loc"] else ""
            line = file.line_of(field) or file.header_line(0)
            reason = one_line(issue["msg"].removeprefix("Value error, "))
            if issue["type"] == "extra_forbidden":
                close = difflib.get_close_matches(field, Header.model_fields, n=1)
                instead = f"Write `{close[0]}`." if close else f"The fields are {listed(list(Header.model_fields))}."
                yield file.finding(line, Rule.FIELD, f"There is no field `{place}`.", instead)
            elif issue["type"] == "missing":
                yield file.finding(line, Rule.FIELD, f"`{place}` is missing.", f"Write `{place}: …`.")
            elif field == "criticality":
                wrong = f"`criticality: {issue['input']}` is unknown."
                yield file.finding(line, Rule.CRITICALITY, wrong, "Write critical or optional.")
            else:
                wrong = f"`{place}` can't be used: {reason}." if place else f"The header can't be used: {reason}."
                yield file.finding(
                    line, Rule.FIELD, wrong, "docs/adding-a-view.md says what the header's fields may hold."
                )


def _missing_faults(file: SqlFile) -> Iterator[Finding]:
    if not file.fields.get("key"):
        yield file.finding(
            file.line_of("key") or file.header_line(0),
            Rule.KEY,
            "A materialized view has to have a key, or it can't be refreshed while people read it.",
            "Write `key: [column, …]`: the columns that tell one row from another and are never NULL.",
        )
    if "criticality" not in file.fields:
        yield file.finding(
            file.header_line(0),
            Rule.CRITICALITY,
            "`criticality` is missing.",
            "Write `criticality: critical` if a run has to fail without this view, else `criticality: optional`.",
        )


def index_faults(file: SqlFile) -> Iterator[Finding]:
    """Find indexes that are there twice, or on columns that aren't."""
    line = file.line_of("indexes")
    seen = [file.key]
    for columns in file.columns("indexes"):
        shown = f"[{', '.join(columns)}]"
        if columns in seen:
            what = "the key, which has one" if columns == file.key else "another one"
            yield file.finding(line, Rule.INDEX, f"The index {shown} is the same as {what}.", "Leave it out.")
        seen.append(columns)
        for column in columns:
            if file.output is not None and column not in file.output:
                yield file.finding(
                    line,
                    Rule.INDEX,
                    f"The index's column “{column}” isn't in the SELECT.",
                    f"Its columns are {listed(file.output)}.",
                )
    for rule, field in ((Rule.KEY, "key"), (Rule.INDEX, "indexes")):
        for columns in file.columns(field):
            if len(set(columns)) < len(columns):
                shown = f"[{', '.join(columns)}]"
                yield file.finding(file.line_of(field), rule, f"{shown} names a column twice.", "Name it once.")


def key_faults(file: SqlFile) -> Iterator[Finding]:
    """Find columns of the key that aren't in the SELECT; whether one can be NULL is found in the rows, at the build."""
    if not file.materialized or file.output is None:
        return
    for column in dict.fromkeys(file.key):
        if column not in file.output:
            yield file.finding(
                file.line_of("key"),
                Rule.KEY,
                f"The key's column “{column}” isn't in the SELECT.",
                f"Its columns are {listed(file.output)}.",
            )
