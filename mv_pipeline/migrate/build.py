"""Building relations in shadow schemas, where no reader sees them.

A relation that is built here reads the others that are built here, and the rest in its place. Putting them in their
places is `migrate.swap`'s.
"""

import contextlib
import time
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date

import psycopg
from psycopg import sql
from sqlglot import Token, TokenType, tokenize

from mv_pipeline.catalog.relations import Catalog, Relation, RelationKind, Rollup
from mv_pipeline.database.connection import Connection, identifier, limit_waits, one_row, scalar
from mv_pipeline.migrate import roles
from mv_pipeline.migrate.dependents import UnmanagedDependent
from mv_pipeline.migrate.indexes import find_key_violations, header_indexes
from mv_pipeline.migrate.state import kind_of
from mv_pipeline.migrate.stored import create_stored
from mv_pipeline.migrate.table_shapes import column_types
from mv_pipeline.settings import OperatorError

_SHADOW = "mv_pipeline_new_"


class BuildError(OperatorError):
    """A definition can't be built; the message says which, and where or which rows."""


@dataclass(frozen=True)
class Built:
    """A relation that was built in a shadow schema.

    Args:
        snapshot: what its rows could see; empty: it wasn't filled.
        business_date: the business date that they are of.
        seconds: how long filling it took.
        comparison: how its rows compare with those of the one that it is to replace; empty: nothing to compare.
    """

    relation: Relation
    snapshot: str = ""
    business_date: date | None = None
    seconds: float = 0
    comparison: str = ""

    @property
    def name(self) -> str:
        """Its name in the shadow schema."""
        return shadow_name(self.relation.name)


def shadow_name(name: str) -> str:
    """The name of a relation in its shadow schema."""
    return f"{_SHADOW}{name}"


def in_place(definition: str) -> str:
    """A definition as PostgreSQL prints it, naming what is in a shadow schema as if it were in its place."""
    return definition.replace(_SHADOW, "")


def reading_shadows(query: str, names: Collection[str]) -> str:
    """Let a query, in which every relation has its schema, read some relations in their shadow schemas."""
    tokens = tokenize(query, read="postgres")
    text = ""
    end = 0
    for before, schema, dot, table in zip([None, *tokens], tokens, tokens[1:], tokens[2:], strict=False):
        if dot.token_type != TokenType.DOT or (before and before.token_type == TokenType.DOT):
            continue
        name = f"{_folded(schema)}.{_folded(table)}"
        if name in names:
            text += query[end : schema.start] + identifier(shadow_name(name)).as_string()
            end = table.end + 1
    return text + query[end:]


def _folded(token: Token) -> str:
    if token.token_type == TokenType.STRING:
        return ""
    return str(token.text if token.token_type == TokenType.IDENTIFIER else token.text.lower())


def rehearse(connection: Connection, catalog: Catalog, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Make relations in shadow schemas as plain views, which fills nothing.

    Args:
        connection: in a transaction that the caller rolls back.
        names: which to make, each after what it reads.

    Returns:
        Those that could be made, and the sentences about those that couldn't, by name. What reads one that couldn't
        be made is in neither.
    """
    made: list[str] = []
    wrong: dict[str, str] = {}
    for name in names:
        if catalog.upstream(name) & wrong.keys():
            continue
        try:
            with connection.transaction():
                _create(connection, catalog.relations[name], made, "view")
        except BuildError as error:
            wrong[name] = str(error)
        else:
            made.append(name)
    return made, wrong


def build(connection: Connection, relations: Iterable[Relation]) -> list[Built]:
    """Build relations in shadow schemas, filled, indexed and compared with those that they are to replace.

    Args:
        connection: in autocommit mode; each relation is committed by itself. The caller drops them by `tear_down`.
        relations: each after what it reads.

    Raises:
        BuildError: one can't be built.
    """
    tear_down(connection)
    built: list[Built] = []
    for relation in relations:
        with connection.transaction(), acting(connection, relation):
            limit_waits(connection)
            built.append(_build(connection, relation, [other.relation.name for other in built]))
    return built


def fill(connection: Connection, built: Built) -> Built:
    """Fill a materialized view that was built, and keep what its rows could see."""
    snapshot, today = one_row(connection, "SELECT log.seen()::text, ref.business_date()")
    started = time.perf_counter()
    # What REFRESH fills in can be seen even by a transaction that began before, once it is in its place.
    connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(identifier(built.name)))
    return replace(built, snapshot=snapshot, business_date=today, seconds=time.perf_counter() - started)


def tear_down(connection: Connection) -> None:
    """Drop everything in the shadow schemas."""
    with connection.transaction(), roles.as_caller(connection):
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ^@ %s", [_SHADOW])
        for (schema,) in rows.fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def acting(connection: Connection, relation: Relation) -> AbstractContextManager[None]:
    """Act as whoever runs the migration where a relation is others'."""
    unmanaged = isinstance(relation, UnmanagedDependent)
    return roles.as_caller(connection) if unmanaged else contextlib.nullcontext()


def _build(connection: Connection, relation: Relation, made: Collection[str]) -> Built:
    _create(connection, relation, made, relation.made_as)
    built = Built(relation)
    if not relation.materialized or (isinstance(relation, UnmanagedDependent) and not relation.filled):
        return built
    try:
        built = fill(connection, built)
    except psycopg.Error as error:
        raise BuildError(f"{relation.name}: {_sentence(error)}") from error
    if isinstance(relation, UnmanagedDependent):
        return built
    indexes = [replace(index, table=built.name) for index in header_indexes(relation)]
    if violations := find_key_violations(connection, indexes[0]):
        raise BuildError(
            f"{relation.name}: the key ({', '.join(relation.header.key)}) isn't one: {violations}. "
            "Correct the SELECT, or name another key."
        )
    for index in indexes:
        index.create(connection)
    return replace(built, comparison=_compare_rows(connection, relation))


def _create(connection: Connection, relation: Relation, made: Collection[str], kind: RelationKind) -> None:
    name = shadow_name(relation.name)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name.split(".")[0])))
    if isinstance(relation, Rollup) and kind_of(connection, relation.stored) is None:
        # Its view reads the table; from the SELECT alone it can be told what is wrong, and where.
        query = reading_shadows(relation.query, made)
        _create_named(connection, relation, name, query, "view")
        if (found := column_types(connection, name)[relation.day]) != "date":
            raise BuildError(f"{relation.name}: the day, {relation.day}, is {found}. Write {relation.day}::date.")
        connection.execute(sql.SQL("DROP VIEW {}").format(identifier(name)))
        create_stored(connection, relation, query)
    _create_named(connection, relation, name, reading_shadows(relation.definition, made), kind)


def _create_named(connection: Connection, relation: Relation, name: str, query: str, kind: RelationKind) -> None:
    head = sql.SQL("CREATE {} {} AS ").format(sql.SQL(kind.upper()), identifier(name)).as_string(connection)
    # On a line of its own, as the file may end in a comment.
    tail = "\nWITH NO DATA" if kind == "materialized view" else ""
    try:
        connection.execute(sql.SQL(head + query + tail))  # the file's own text
    except psycopg.Error as error:
        raise BuildError(f"{relation.name}{_where(error, relation, head, query)}: {_sentence(error)}") from error
    named = {column for index in header_indexes(relation) for column in index.columns}
    if unknown := named - column_types(connection, name).keys():
        raise BuildError(
            f"{relation.name}: the header's key or indexes name {', '.join(sorted(unknown))}, "
            "which the SELECT doesn't give."
        )


def _where(error: psycopg.Error, relation: Relation, head: str, query: str) -> str:
    if not error.diag.statement_position:
        return ""
    position = int(error.diag.statement_position) - 1 - len(head)
    return f", line {relation.line + query.count(chr(10), 0, position)}" if position >= 0 else ""


def _sentence(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary or str(error).strip(), error.diag.message_detail, error.diag.message_hint)
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def _compare_rows(connection: Connection, relation: Relation) -> str:
    """Say how the new rows compare with those that they are to replace.

    Raises:
        BuildError: nothing is left of what had rows.
    """
    new = shadow_name(relation.name)
    old = relation.name
    populated = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(%s) AND relispopulated)"
    if not scalar(connection, populated, [old]):
        return ""
    count = sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(
        identifier(old), identifier(new)
    )
    before, after = one_row(connection, count)
    if before and not after:
        raise BuildError(
            f"{old}: the new definition gives no row, the existing one has {before}. "
            "If that is right, drop the view first; else correct the SELECT."
        )
    key = relation.header.key
    types = column_types(connection, new)
    if not {name: types[name] for name in key}.items() <= column_types(connection, old).items():
        return f"{before} rows → {after}"
    only = sql.SQL("(SELECT count(*) FROM (SELECT {key} FROM {one} EXCEPT SELECT {key} FROM {other}) AS keys)")
    names = sql.SQL(", ").join(map(sql.Identifier, key))
    gone, added = one_row(
        connection,
        sql.SQL("SELECT {}, {}").format(
            only.format(key=names, one=identifier(old), other=identifier(new)),
            only.format(key=names, one=identifier(new), other=identifier(old)),
        ),
    )
    return f"{before} rows → {after}; {gone} keys gone, {added} new"
