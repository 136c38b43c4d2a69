"""SQL files read for the lint, however broken: what can't be read is left empty, and no reading raises."""

from collections.abc import Container, Sequence
from functools import cached_property
from pathlib import Path

import sqlglot
import yaml
from pydantic import ValidationError
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from mv_pipeline.catalog.lint.findings import Finding, Rule
from mv_pipeline.catalog.relations import Header, Relation, made_relations, split_file, table_names


class SqlFile:
    """One SQL file, as far as it can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"{path.parent.name}.{path.stem}"
        content = path.read_bytes()
        self.text = content.decode("utf-8-sig", errors="replace")
        self.readable = "\ufffd" not in self.text
        self.header_text, rest = split_file(self.text)
        self.query = rest.strip().rstrip(";")
        self._before_query = self.text[: self.text.rindex(self.query)].count("\n") if self.query else 0
        self._before_header = self.text[: len(self.text) - len(self.text.lstrip())].count("\n")

    @property
    def materialized(self) -> bool:
        """True if the name makes it a materialized view."""
        return self.path.stem.startswith("mv_")

    def finding(self, line: int | None, rule: Rule, wrong: str, instead: str) -> Finding:
        """A fault of this file."""
        return Finding(self.path, line, rule, wrong, instead)

    def header_line(self, offset: int) -> int:
        """The line of the file for a line of the header's YAML, counted from 0."""
        return self._before_header + offset + 1

    def query_line(self, node: exp.Expr | None) -> int | None:
        """The line of the file in which a part of the query stands; of what has no place, that of what is around it."""
        while node is not None:
            lines = [int(part.meta["line"]) for part in node.walk() if "line" in part.meta]
            if lines:
                return self._before_query + min(lines)
            node = node.parent
        return None

    def written(self, function: exp.Expr) -> str:
        """A function's name as the file has it; the parser knows some by another name."""
        meta = function.meta
        return self.query[meta["start"] : meta["end"] + 1].lower() if "start" in meta else function.name

    def parser_line(self, line: int | None) -> int | None:
        """The line of the file for a line of the query, counted from 1."""
        return self._before_query + line if line else None

    @cached_property
    def yaml_error(self) -> yaml.YAMLError | None:
        """Why the header is no YAML; None if it is."""
        try:
            yaml.safe_load(self.header_text or "")
        except yaml.YAMLError as error:
            return error
        return None

    @cached_property
    def fields(self) -> dict[str, object]:
        """The header's fields as they stand there; none if it is no YAML or no mapping."""
        content = None if self.yaml_error else yaml.safe_load(self.header_text or "")
        return {str(name): value for name, value in content.items()} if isinstance(content, dict) else {}

    @cached_property
    def field_lines(self) -> list[tuple[str, int]]:
        """The header's fields in order with their lines; one that stands there twice is there twice."""
        node = None if self.yaml_error else yaml.compose(self.header_text or "", Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            return []
        return [(str(key.value), self.header_line(key.start_mark.line)) for key, _ in node.value]

    def line_of(self, field: str) -> int | None:
        """The line of a header's field."""
        return dict(self.field_lines).get(field)

    @cached_property
    def header(self) -> Header | None:
        """The header, if all of it can be used."""
        try:
            return Header.model_validate(self.fields)
        except ValidationError:
            return None

    def columns(self, field: str) -> list[list[str]]:
        """The lists of columns that a field holds: `key` one, `indexes` several."""
        value = self.fields.get(field)
        lists = [value] if field == "key" else value
        if not isinstance(lists, list):
            return []
        return [[str(name) for name in columns] for columns in lists if isinstance(columns, list)]

    @property
    def key(self) -> list[str]:
        """The key's columns; none if there is no list of them."""
        return next(iter(self.columns("key")), [])

    @cached_property
    def parsed(self) -> exp.Query | ParseError | None:
        """The query, or why it can't be read; None if it is something else than one SELECT."""
        try:
            statements = sqlglot.parse(self.query, dialect="postgres")
        except ParseError as error:
            return error
        except SqlglotError as error:
            return ParseError(str(error))
        return statements[0] if len(statements) == 1 and isinstance(statements[0], exp.Query) else None

    @property
    def tree(self) -> exp.Query | None:
        """The query, if it can be read."""
        return self.parsed if isinstance(self.parsed, exp.Query) else None

    @cached_property
    def tables(self) -> list[exp.Table]:
        """The relations that the query reads, without its own CTEs and functions; those without schema too."""
        if self.tree is None:
            return []
        with_names = {cte.alias for cte in self.tree.find_all(exp.CTE)}
        return [
            table
            for table in self.tree.find_all(exp.Table)
            if isinstance(table.this, exp.Identifier) and (table.db or table.name not in with_names)
        ]

    @property
    def reads(self) -> set[str]:
        """The names of the relations that the query reads, those without schema left out."""
        return {f"{table.db}.{table.name}" for table in self.tables if table.db}

    @property
    def output(self) -> list[str] | None:
        """The names of the query's columns; None if a star hides them."""
        if self.tree is None or "*" in self.tree.named_selects or self.tree.is_star:
            return None
        return self.tree.named_selects

    @cached_property
    def relation(self) -> Relation | None:
        """The relation, with as much of its header as is needed to read it; None if its query can't be read."""
        if self.tree is None:
            return None
        header = Header(description="", description_en="", owner="team:x", key=tuple(self.key))
        return Relation(self.name, header, self.query)


class Folder:
    """All files and what is made from the CSV kinds: what there is to read, and who reads what."""

    def __init__(self, files: Sequence[SqlFile]) -> None:
        self.made = {relation.name: relation for relation in made_relations()}
        self.files = {file.name: file for file in files}
        self.known = {*self.files, *self.made, *table_names()}
        self.relations = {**{file.name: file.relation for file in files if file.relation}, **self.made}
        self.reads: dict[str, set[str]] = {
            **{name: set(relation.dependencies) for name, relation in self.made.items()},
            **{file.name: file.reads for file in files},
        }

    def upstream(self, name: str, *, stop_at: Container[str] = ()) -> dict[str, str]:
        """Everything that a relation reads, directly or through others, and which of its own inputs leads there.

        Args:
            name: the relation.
            stop_at: those that are not looked behind.
        """
        found: dict[str, str] = {}
        waiting = [(other, other) for other in sorted(self.reads.get(name, ()))]
        while waiting:
            other, first = waiting.pop()
            if other not in found:
                found[other] = first
                if other not in stop_at:
                    waiting += [(next_one, first) for next_one in sorted(self.reads.get(other, ()))]
        return found
