"""A relation as it stands against the same one as its file says: definition, columns, and which rows change.

The new definition is rehearsed in a transaction that is rolled back; nothing is changed.
"""

import difflib
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, Database, identifier, limit_waits, scalar
from mv_pipeline.migrate import build
from mv_pipeline.migrate.state import read_decisions
from mv_pipeline.settings import OperatorError


class DiffError(OperatorError):
    """There is nothing to compare; the message says why."""


@dataclass(frozen=True)
class RowChange:
    """One row that changes: as it stands, and as it would be; None: there is no such row."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def columns(self) -> list[str]:
        """The columns whose values differ; none for a row that comes or goes."""
        if self.before is None or self.after is None:
            return []
        names = [*self.before, *(name for name in self.after if name not in self.before)]
        return [name for name in names if self.before.get(name) != self.after.get(name)]


@dataclass(frozen=True)
class RelationDiff:
    """What a migration would change about one relation.

    Args:
        definition: a unified diff of both definitions as PostgreSQL prints them; empty: they are the same.
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
    """Compare a relation that stands with its file, and with the files of what it reads.

    Args:
        database: the plant's.
        catalog: the relations as the files have them.
        name: of a view or materialized view.
        at_most: how many rows to show.

    Raises:
        DiffError: no file describes it, it doesn't exist yet, or its file can't be built.
    """
    relation = catalog.relations.get(name)
    if relation is None:
        raise DiffError(f"No SQL file describes {name}. Give schema and name, as in mart.mv_receive_daily.")
    with database.connect("diff") as connection, connection.transaction(force_rollback=True):
        limit_waits(connection)
        decisions = read_decisions(connection, catalog)
        if decisions[name].action == "create":
            raise DiffError(f"{name} doesn't exist yet; `mv-pipeline migrate` creates it.")
        if not decisions[name].builds:
            return RelationDiff()
        concerned = {name, *catalog.upstream(name)}
        names = [other for other in catalog.relations if other in concerned and decisions[other].builds]
        _, wrong = build.rehearse(connection, catalog, names)
        if wrong:
            raise DiffError("\n".join(wrong.values()))
        return _compare(connection, relation, decisions[name].reason, at_most)


def _compare(connection: Connection, relation: Relation, reason: str, at_most: int) -> RelationDiff:
    old, new = relation.name, build.shadow_name(relation.name)
    before, after = build.columns(connection, old), build.columns(connection, new)
    changed = {
        column: (before.get(column), after.get(column))
        for column in (*before, *(column for column in after if column not in before))
        if before.get(column) != after.get(column)
    }
    key = [column for column in relation.header.key if column in before.keys() & after.keys()]
    rows, sample = _rows(connection, old, new, key, at_most)
    return RelationDiff(_definitions(connection, old, new), changed, key, rows, sample, swapped=True, reason=reason)


def _definitions(connection: Connection, old: str, new: str) -> list[str]:
    before, after = _printed(connection, old), _printed(connection, new)
    return list(difflib.unified_diff(before, after, "as it stands", "as its file says", lineterm=""))


def _printed(connection: Connection, name: str) -> list[str]:
    text = scalar(connection, "SELECT pg_get_viewdef(%s::regclass, true)", [name])
    return build.in_place(text).splitlines()


def _rows(connection: Connection, old: str, new: str, key: list[str], at_most: int) -> tuple[int, list[RowChange]]:
    """Match rows by key where there is one; rows of a view without a key come and go whole."""
    match = sql.SQL(" AND ").join(sql.SQL("o.{0} = n.{0}").format(sql.Identifier(column)) for column in key)
    order = sql.SQL(", ").join(sql.SQL("coalesce(o.{0}, n.{0})").format(sql.Identifier(column)) for column in key)
    if key:
        query = sql.SQL(
            "SELECT to_jsonb(o) AS before, to_jsonb(n) AS after, count(*) OVER () FROM {old} AS o FULL JOIN {new} AS n "
            "ON {match} WHERE to_jsonb(o) IS DISTINCT FROM to_jsonb(n) ORDER BY {order} LIMIT {limit}"
        )
    else:
        query = sql.SQL(
            "SELECT before, after, count(*) OVER () FROM ("
            "(SELECT to_jsonb(o) AS before, NULL::jsonb AS after FROM {old} AS o "
            "EXCEPT ALL SELECT to_jsonb(n), NULL FROM {new} AS n) UNION ALL "
            "(SELECT NULL::jsonb, to_jsonb(n) FROM {new} AS n EXCEPT ALL SELECT NULL, to_jsonb(o) FROM {old} AS o)"
            ") AS rows ORDER BY coalesce(before, after), after IS NULL DESC LIMIT {limit}"
        )
    found = connection.execute(
        query.format(old=identifier(old), new=identifier(new), match=match, order=order, limit=sql.Literal(at_most))
    ).fetchall()
    return (found[0][2] if found else 0), [RowChange(before, after) for before, after, _ in found]
