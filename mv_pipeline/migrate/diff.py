"""A relation in the database compared with its file: definition, columns, and which rows change.

The new definition is rehearsed in a transaction that is rolled back; nothing is changed.
"""

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from psycopg import sql
from sqlglot import exp

from mv_pipeline.catalog.realtime import CHANGED_AT
from mv_pipeline.catalog.relations import Catalog, Relation, Rollup
from mv_pipeline.database.connection import Connection, Database, identifier, limit_waits, scalar
from mv_pipeline.migrate import build
from mv_pipeline.migrate.indexes import read_indexes
from mv_pipeline.migrate.state import decide, read_existing
from mv_pipeline.migrate.table_shapes import column_types
from mv_pipeline.settings import OperatorError

# What `realtime_query` calls the rollup's own SELECT, and what else it alone reads.
_LIVE = "live"
_STORED = re.compile(r"\bFROM (rollup\.\w+)")


class DiffError(OperatorError):
    """There is nothing to compare; the message says why."""


@dataclass(frozen=True)
class RowChange:
    """One row that changes: as it is, and as it would be; None: there is no such row."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def columns(self) -> list[str]:
        """The columns whose values differ; none for a row that comes or goes."""
        if self.before is None or self.after is None:
            return []
        return [name for name in self.before | self.after if self.before.get(name) != self.after.get(name)]


@dataclass(frozen=True)
class RelationDiff:
    """What a migration would change about one relation.

    Args:
        definition: a unified diff of both definitions as PostgreSQL prints them, of a rollup with key and day; empty:
            they are the same.
        columns: type before and after by column; None: it isn't there.
        key: the columns that tell rows apart; empty: rows come and go whole.
        rows: how many rows change, come or go.
        sample: the first of them, by key.
        swapped: a migration builds it anew, be it only for its indexes or for what it reads.
        reason: why it does.
    """

    definition: list[str] = field(default_factory=list)
    columns: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    rows: int = 0
    sample: list[RowChange] = field(default_factory=list)
    swapped: bool = False
    reason: str = ""


def diff(database: Database, catalog: Catalog, name: str, at_most: int = 10) -> RelationDiff:
    """Compare a relation in the database with its file, and with the files of what it reads; show some rows.

    Raises:
        DiffError: no file describes it, it doesn't exist yet, or its file can't be built.
    """
    relation = catalog.relations.get(name)
    if relation is None:
        raise DiffError(f"No SQL file describes {name}. Give schema and name, as in mart.mv_receive_daily.")
    with database.connect("diff") as connection, connection.transaction(force_rollback=True):
        limit_waits(connection)
        decisions = decide(catalog, read_existing(connection, catalog.relations.values()))
        if decisions[name].action == "create":
            raise DiffError(f"{name} doesn't exist yet; `mv-pipeline migrate` creates it.")
        if not decisions[name].builds:
            return RelationDiff()
        concerned = {name, *catalog.upstream(name)}
        names = [other for other in catalog.relations if other in concerned and decisions[other].builds]
        _, wrong = build.rehearse(connection, catalog, names)
        if wrong:
            raise DiffError("\n".join(wrong.values()))
        return _compare_relations(connection, relation, decisions[name].reason, at_most)


def _compare_relations(connection: Connection, relation: Relation, reason: str, at_most: int) -> RelationDiff:
    old = relation.name
    new = build.shadow_name(relation.name)
    before = column_types(connection, old)
    after = column_types(connection, new)
    changed = {
        column: (before.get(column), after.get(column))
        for column in before | after
        if before.get(column) != after.get(column)
    }
    key = [column for column in relation.header.key if column in before.keys() & after.keys()]
    # When a row changed is kept where the row is the same.
    ignored = [CHANGED_AT] if isinstance(relation, Rollup) else []
    rows, sample = _rows(connection, old, new, key, ignored, at_most)
    return RelationDiff(_definitions(connection, old, new), changed, key, rows, sample, swapped=True, reason=reason)


def _definitions(connection: Connection, old: str, new: str) -> list[str]:
    before, after = (_definition(connection, name) for name in (old, new))
    return list(difflib.unified_diff(before, after, "in the database", "as its file says", lineterm=""))


def _definition(connection: Connection, name: str) -> list[str]:
    """A definition as PostgreSQL prints it; of a rollup key, day and SELECT, without the real-time view around them."""
    definition = build.in_place(scalar(connection, "SELECT pg_get_viewdef(%s::regclass, true)", [name]))
    subqueries = sqlglot.parse_one(definition, dialect="postgres").find_all(exp.Subquery)
    queries = [subquery.this for subquery in subqueries if subquery.alias == _LIVE]
    found = _STORED.search(definition)
    if not (found and queries):
        return definition.splitlines()
    (key,) = (existing.index.columns for existing in read_indexes(connection, found[1]) if existing.index.unique)
    text = queries[0].sql(dialect="postgres", pretty=True, normalize_functions="lower")
    return [f"key: {', '.join(key)}", f"day: {key[0]}", "", *text.splitlines()]


def _rows(
    connection: Connection, old: str, new: str, key: list[str], ignored: list[str], at_most: int
) -> tuple[int, list[RowChange]]:
    """Match rows by key where there is one; rows of a view without a key come and go whole."""
    columns = sql.SQL(", ").join(sql.SQL("v.{}").format(sql.Identifier(column)) for column in key)
    side = sql.SQL(
        "(SELECT to_jsonb(v) - {ignored}::text[] AS line, key, row_number() OVER (PARTITION BY key) AS copy "
        "FROM {view} AS v "
        "CROSS JOIN LATERAL (SELECT {key} AS key) AS keys)"
    )
    match = sql.SQL("jsonb_build_array({})").format(columns) if key else sql.SQL("to_jsonb(v)")
    found = connection.execute(
        sql.SQL(
            "SELECT o.line, n.line, count(*) OVER () FROM {old} AS o FULL JOIN {new} AS n USING (key, copy) "
            "WHERE o.line IS DISTINCT FROM n.line ORDER BY key, copy LIMIT {limit}"
        ).format(
            old=side.format(view=identifier(old), key=match, ignored=sql.Literal(ignored)),
            new=side.format(view=identifier(new), key=match, ignored=sql.Literal(ignored)),
            limit=sql.Literal(at_most),
        )
    ).fetchall()
    return (found[0][2] if found else 0), [RowChange(before, after) for before, after, _ in found]
