"""What exists of the views and materialized views, and what each of them needs: the decision and its reason.

The decision is a pure function over names and definitions. Whoever plans, migrates, compares or checks reads it here;
how a relation is built and swapped in is in `migrate.build` and `migrate.swap`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline.migrate.indexes import header_indexes, read_indexes

# After the sentence about the definition drift of one relation.
DRIFT_REMEDY = "Run `mv-pipeline diff {name}`, then `mv-pipeline migrate`."
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "i": "index"}

Action = Literal["create", "adopt", "swap", "keep"]


@dataclass(frozen=True)
class Existing:
    """A relation that exists in the database.

    Args:
        definition_hash: the hash of the file that it was made from; None: made by others.
        as_file: what the database holds is what the file says.
    """

    definition_hash: str | None
    as_file: bool


@dataclass(frozen=True)
class Decision:
    """What a relation needs, and why; a relation that is kept needs nothing, for no reason."""

    action: Action
    reason: str = ""

    @property
    def builds(self) -> bool:
        """True if the relation is built, whether for the first time or anew."""
        return self.action in ("create", "swap")


def decide(catalog: Catalog, existing: Mapping[str, Existing]) -> dict[str, Decision]:
    """Decide what each relation needs; what reads one that is built is swapped with it.

    Args:
        catalog: the relations as the files have them.
        existing: the relations that exist in the database, by name.
    """
    decisions: dict[str, Decision] = {}
    for name, relation in catalog.relations.items():
        built = sorted(other for other in relation.dependencies if other in decisions and decisions[other].builds)
        decisions[name] = _decide(relation, existing.get(name), built)
    return decisions


def _decide(relation: Relation, existing: Existing | None, built: list[str]) -> Decision:
    if existing is None:
        return Decision("create", "it is missing")
    recorded = existing.definition_hash == relation.definition_hash
    if existing.as_file and not built:
        return Decision("keep") if recorded else Decision("adopt", "it exists as its file says, which isn't recorded")
    if existing.as_file:
        return Decision("swap", f"it reads {', '.join(built)}")
    if existing.definition_hash is None:
        return Decision("swap", "others have made it, with another definition")
    if not recorded:
        return Decision("swap", "its file has changed")
    return Decision("swap", "somebody has changed it in the database by hand")


def changes(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """The decisions that change something."""
    return {name: decision for name, decision in decisions.items() if decision.action != "keep"}


def find_drift(relations: Iterable[Relation], existing: Mapping[str, Existing]) -> dict[str, Decision]:
    """The definition drift of relations: what each needs whose own definition isn't its file's, and why."""
    return changes({relation.name: _decide(relation, existing.get(relation.name), []) for relation in relations})


def read_drift(
    connection: Connection, relations: Iterable[Relation], *, hashes_only: bool = False
) -> dict[str, Decision]:
    """As find_drift, with what exists in the database now; the arguments are those of read_existing."""
    return find_drift(relations, read_existing(connection, relations, hashes_only=hashes_only))


def describe_drift(drift: Mapping[str, Decision]) -> str:
    """Say in a sentence, without its full stop, which relations have definition drift and why."""
    names = ", ".join(f"{name} ({decision.reason})" for name, decision in drift.items())
    return f"Definition drift of {names}" if drift else "No definition drift"


def read_existing(
    connection: Connection, relations: Iterable[Relation], *, hashes_only: bool = False
) -> dict[str, Existing]:
    """Read which relations exist, and whether they are as their files say.

    Args:
        connection: what is made for the comparison is rolled back.
        relations: as the files have them.
        hashes_only: compare only the recorded hashes, which is quick and misses what was changed by hand.
    """
    wanted = {relation.name: relation for relation in relations}
    rows = connection.execute(
        "SELECT name, r.definition_hash FROM unnest(%s::text[]) AS name LEFT JOIN log.relation AS r USING (name) "
        "WHERE to_regclass(name) IS NOT NULL",
        [list(wanted)],
    ).fetchall()
    existing = {}
    for name, recorded in rows:
        relation = wanted[name]
        as_file = recorded == relation.definition_hash if hashes_only else _is_as_file(connection, relation)
        existing[name] = Existing(recorded, as_file)
    return existing


def kind_of(connection: Connection, name: str) -> str | None:
    """The kind of the relation of that name, as pg_class has it; None: there is none."""
    # By name, since to_regclass refuses to read a schema that the role may not use.
    row = connection.execute(
        "SELECT relkind::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relname = %s",
        name.split(".", 1),
    ).fetchone()
    return _KINDS.get(row[0], "relation of another kind") if row else None


def describe_occupied(connection: Connection, name: str, wanted: str) -> str:
    """Say that a relation of another kind has the name of a wanted one; empty: none has."""
    kind = kind_of(connection, name)
    return "" if kind in (None, wanted) else f"{name} is a {kind}. Rename it: a {wanted} of this name is needed."


def _is_as_file(connection: Connection, relation: Relation) -> bool:
    """True if the database holds a relation as its file says: kind, definition, key and indexes.

    PostgreSQL prints both definitions, so neither blanks nor a newer server's way of printing make a difference.

    Args:
        connection: what is made for the comparison is rolled back.
        relation: one that exists.
    """
    if kind_of(connection, relation.name) != relation.made_as:
        return False
    if relation.materialized and not _is_indexed_and_filled(connection, relation):
        return False
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path = pg_catalog")
            connection.execute(sql.SQL("CREATE TEMP VIEW mv_pipeline_side AS {}").format(sql.SQL(relation.definition)))
            return bool(
                scalar(
                    connection,
                    "SELECT pg_get_viewdef(%s::regclass) = pg_get_viewdef('pg_temp.mv_pipeline_side'::regclass)",
                    [relation.name],
                )
            )
    except psycopg.errors.ProgrammingError:
        # The file's SELECT reads what isn't there yet, so it can't be what exists.
        return False


def _is_indexed_and_filled(connection: Connection, relation: Relation) -> bool:
    """True if there are rows and the header's indexes, and none of the indexes that an earlier header asked for."""
    usable = [existing for existing in read_indexes(connection, relation.name) if existing.valid and existing.plain]
    ours = {existing.index for existing in usable if existing.name == existing.index.name}
    wanted = {*header_indexes(relation)}
    filled = scalar(connection, "SELECT relispopulated FROM pg_class WHERE oid = %s::regclass", [relation.name])
    return filled and ours <= wanted <= {existing.index for existing in usable}
