"""Views and materialized views in the database: which to create, rebuild, keep or drop, and doing it.

The decision is a pure function over names and definition hashes; the rest runs in the caller's transaction.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database import Connection, identifier, scalar
from mv_pipeline.refresh import log_refresh

Action = Literal["create", "rebuild", "keep"]


@dataclass(frozen=True)
class Existing:
    """A relation that stands in the database: its kind, and the hash it was made with (None: made by others)."""

    kind: str
    definition_hash: str | None


@dataclass(frozen=True)
class Plan:
    """What is to be done: names to drop, dependents first, and what becomes of each relation, in order."""

    drops: list[str]
    actions: dict[str, Action]

    @property
    def changes(self) -> dict[str, Action]:
        """The actions that change something."""
        return {name: action for name, action in self.actions.items() if action != "keep"}


def decide(catalog: Catalog, existing: Mapping[str, Existing], retired: list[str]) -> Plan:
    """Decide what each relation needs; what reads a rebuilt relation is rebuilt with it.

    Args:
        catalog: the relations as the files have them.
        existing: the relations that stand in the database, by name.
        retired: names that an earlier migration made and that have no file any more, dependents first.
    """
    actions: dict[str, Action] = {}
    for name, relation in catalog.relations.items():
        standing = existing.get(name)
        if standing is None:
            actions[name] = "create"
        elif standing.definition_hash != relation.definition_hash or any(
            actions.get(dependency) == "rebuild" for dependency in relation.dependencies
        ):
            actions[name] = "rebuild"
        else:
            actions[name] = "keep"
    rebuilt = [name for name in reversed(actions) if actions[name] == "rebuild"]
    return Plan([*retired, *rebuilt], actions)


def apply(connection: Connection, catalog: Catalog, plan: Plan) -> None:
    """Carry the plan out; a materialized view is filled and indexed before anyone can see it."""
    for name in plan.drops:
        kind = scalar(connection, "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [name])
        statement = sql.SQL("DROP MATERIALIZED VIEW {}" if kind == "m" else "DROP VIEW {}")
        connection.execute(statement.format(identifier(name)))
        connection.execute("DELETE FROM log.relation WHERE name = %s", [name])
    for name in plan.changes:
        _create(connection, catalog.relations[name])


def read_existing(connection: Connection, catalog: Catalog) -> tuple[dict[str, Existing], list[str]]:
    """Read what stands in the database: the catalogue's relations by name, and the retired ones to drop."""
    kinds = {"v": "view", "m": "materialized view"}
    standing: dict[str, Existing] = {}
    retired: list[str] = []
    for row in connection.execute(
        "SELECT n.nspname || '.' || c.relname, c.relkind::text, r.definition_hash FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "LEFT JOIN log.relation AS r ON r.name = n.nspname || '.' || c.relname "
        "WHERE c.relkind IN ('v', 'm') AND (r.name IS NOT NULL OR n.nspname || '.' || c.relname = ANY (%s)) "
        "ORDER BY c.oid DESC",
        [list(catalog.relations)],
    ):
        name, relkind, definition_hash = row
        if name in catalog.relations:
            standing[name] = Existing(kinds[relkind], definition_hash)
        else:
            retired.append(name)
    return standing, retired


def _create(connection: Connection, relation: Relation) -> None:
    name = identifier(relation.name)
    query = sql.SQL(relation.query)  # the file's own text
    comment = f"{relation.header.description}\n{relation.header.description_en}"
    if relation.materialized:
        snapshot = scalar(connection, "SELECT pg_current_snapshot()::text")
        started = time.perf_counter()
        connection.execute(sql.SQL("CREATE MATERIALIZED VIEW {} AS {}").format(name, query))
        seconds = time.perf_counter() - started
        for number, columns in enumerate((relation.header.key, *relation.header.indexes)):
            unique, suffix = ("UNIQUE", "key") if number == 0 else ("", "_".join(columns))
            connection.execute(
                sql.SQL("CREATE {} INDEX {} ON {} ({})").format(
                    sql.SQL(unique),
                    sql.Identifier(f"{relation.table}_{suffix}"),
                    name,
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                )
            )
        connection.execute(sql.SQL("COMMENT ON MATERIALIZED VIEW {} IS {}").format(name, sql.Literal(comment)))
        log_refresh(connection, relation, "create", seconds, snapshot, None)
    else:
        connection.execute(sql.SQL("CREATE VIEW {} AS {}").format(name, query))
        connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(name, sql.Literal(comment)))
    connection.execute(
        "INSERT INTO log.relation (name, kind, definition_hash) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE "
        "SET kind = excluded.kind, definition_hash = excluded.definition_hash, created_at = now()",
        [relation.name, relation.kind, relation.definition_hash],
    )
