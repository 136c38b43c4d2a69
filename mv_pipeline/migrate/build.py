"""Building relations in shadow schemas, where no reader sees them.

A relation that is built here reads the others that are built here, and the rest where it stands. Putting them in
their places is `migrate.swap`'s.
"""

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlglot import Token, TokenType, tokenize

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, identifier, limit_waits, one_row, scalar
from mv_pipeline.migrate import roles
from mv_pipeline.migrate.dependents import UnmanagedMaterializedView
from mv_pipeline.migrate.indexes import index_names
from mv_pipeline.settings import OperatorError

_SHADOW = "mv_pipeline_new_"
_SHOWN = 3


class BuildError(OperatorError):
    """A definition can't be built; the message says which, and where or which rows."""


@dataclass(frozen=True)
class Built:
    """A relation that was built in a shadow schema.

    Args:
        relation: the relation.
        name: where it stands now.
        snapshot: what its rows could see.
        seconds: how long filling it took.
        comparison: how its rows compare with those of the one that stands; empty: nothing to compare.
    """

    relation: Relation
    name: str
    snapshot: str
    seconds: float
    comparison: str


def shadow_name(name: str) -> str:
    """The name of a relation in its shadow schema."""
    schema, table = name.split(".")
    return f"{_SHADOW}{schema}.{table}"


def in_place(definition: str) -> str:
    """A definition as PostgreSQL prints it, naming what is in a shadow schema as if it were in its place."""
    return re.sub(rf"\b{_SHADOW}(\w+)\.", r"\1.", definition)


def reading(query: str, names: Mapping[str, str]) -> str:
    """Let a query read other relations in the place of some.

    Args:
        query: with every relation's schema.
        names: `schema.relation` to read instead, by `schema.relation`.
    """
    tokens = tokenize(query, read="postgres")
    text, end = "", 0
    for before, schema, dot, table in zip([None, *tokens], tokens, tokens[1:], tokens[2:], strict=False):
        if dot.token_type != TokenType.DOT or (before and before.token_type == TokenType.DOT):
            continue
        name = f"{_folded(schema)}.{_folded(table)}"
        if name in names:
            text += query[end : schema.start] + identifier(names[name]).as_string()
            end = table.end + 1
    return text + query[end:]


def _folded(token: Token) -> str:
    if token.token_type == TokenType.STRING:
        return ""
    return str(token.text if token.token_type == TokenType.IDENTIFIER else token.text.lower())


def rehearse(connection: Connection, catalog: Catalog, names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Make relations in shadow schemas as plain views, which fills nothing; each stands behind what it reads.

    Args:
        connection: in a transaction that the caller rolls back.
        catalog: the relations.
        names: which to make, in the catalogue's order.

    Returns:
        Where those stand that could be made, and the sentences about those that couldn't, by name. What reads one
        that couldn't be made is in neither.
    """
    made: dict[str, str] = {}
    wrong: dict[str, str] = {}
    left_out: set[str] = set()
    for name in names:
        relation = catalog.relations[name]
        if relation.dependencies & left_out:
            left_out.add(name)
            continue
        try:
            with connection.transaction():
                _create_schema(connection, name)
                _create(connection, relation, made, rehearsed=True)
                _require_columns(connection, relation)
        except BuildError as error:
            left_out.add(name)
            wrong[name] = str(error)
        else:
            made[name] = shadow_name(name)
    return made, wrong


def build(connection: Connection, relations: Iterable[Relation]) -> list[Built]:
    """Build relations in shadow schemas, filled, indexed and compared with the ones that stand.

    Args:
        connection: in autocommit mode; each relation is committed by itself.
        relations: each behind what it reads.

    Raises:
        BuildError: one can't be built; nothing is left of any of them.
    """
    tear_down(connection)
    built: dict[str, Built] = {}
    try:
        for relation in relations:
            with connection.transaction(), acting(connection, relation):
                limit_waits(connection)
                _create_schema(connection, relation.name)
                made = {name: other.name for name, other in built.items()}
                built[relation.name] = _build(connection, relation, made)
    except BaseException:
        tear_down(connection)
        raise
    return [*built.values()]


def tear_down(connection: Connection) -> None:
    """Drop everything in the shadow schemas."""
    with connection.transaction(), roles.as_caller(connection):
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ^@ %s", [_SHADOW])
        for (schema,) in rows.fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def acting(connection: Connection, relation: Relation) -> AbstractContextManager[None]:
    """Act as whoever runs the migration where a relation is others'."""
    theirs = isinstance(relation, UnmanagedMaterializedView)
    return roles.as_caller(connection) if theirs else contextlib.nullcontext()


def _create_schema(connection: Connection, name: str) -> None:
    schema = sql.Identifier(shadow_name(name).split(".")[0])
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))


def _build(connection: Connection, relation: Relation, made: Mapping[str, str]) -> Built:
    name = shadow_name(relation.name)
    _create(connection, relation, made)
    if not relation.materialized:
        return Built(relation, name, "", 0, "")
    snapshot = scalar(connection, "SELECT pg_current_snapshot()::text")
    started = time.perf_counter()
    if not isinstance(relation, UnmanagedMaterializedView) or relation.filled:
        _fill(connection, relation)
    seconds = time.perf_counter() - started
    if isinstance(relation, UnmanagedMaterializedView):
        return Built(relation, name, snapshot, seconds, "")
    _require_columns(connection, relation)
    _require_keys(connection, relation)
    for number, columns in enumerate((relation.header.key, *relation.header.indexes)):
        connection.execute(
            sql.SQL("CREATE {} INDEX {} ON {} ({})").format(
                sql.SQL("UNIQUE" if number == 0 else ""),
                sql.Identifier(index_names(relation, columns)[0 if number == 0 else 1]),
                identifier(name),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
            )
        )
    return Built(relation, name, snapshot, seconds, _compare(connection, relation))


def _create(connection: Connection, relation: Relation, made: Mapping[str, str], *, rehearsed: bool = False) -> None:
    materialized = relation.materialized and not rehearsed
    name = identifier(shadow_name(relation.name))
    # On a line of its own, as the file may end in a comment.
    kind, empty = ("MATERIALIZED VIEW", "\nWITH NO DATA") if materialized else ("VIEW", "")
    head = sql.SQL("CREATE {} {} AS ").format(sql.SQL(kind), name).as_string(connection)
    query = reading(relation.query, made)
    try:
        with connection.transaction():
            connection.execute(sql.SQL(head + query + empty))  # the file's own text
    except psycopg.Error as error:
        raise BuildError(f"{relation.name}{_where(error, relation, head, query)}: {_sentence(error)}") from error


def _fill(connection: Connection, relation: Relation) -> None:
    """Fill by REFRESH, whose rows even a transaction that began before can see once they are in their place."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(identifier(shadow_name(relation.name))))
    except psycopg.Error as error:
        raise BuildError(f"{relation.name}: {_sentence(error)}") from error


def _where(error: psycopg.Error, relation: Relation, head: str, query: str) -> str:
    if not error.diag.statement_position:
        return ""
    position = int(error.diag.statement_position) - 1 - len(head)
    return f", line {relation.line + query.count(chr(10), 0, position)}" if position >= 0 else ""


def _sentence(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary or str(error).strip(), error.diag.message_detail, error.diag.message_hint)
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def columns(connection: Connection, name: str) -> dict[str, str]:
    """The columns of a relation and their types, in order."""
    rows = connection.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [name],
    )
    return dict(rows.fetchall())


def _require_columns(connection: Connection, relation: Relation) -> None:
    header = relation.header
    named = {*header.key, *(column for index in header.indexes for column in index)}
    unknown = named - columns(connection, shadow_name(relation.name)).keys()
    if unknown:
        raise BuildError(
            f"{relation.name}: the header's key or indexes name {', '.join(sorted(unknown))}, "
            "which the SELECT doesn't give."
        )


def _require_keys(connection: Connection, relation: Relation) -> None:
    key = sql.SQL(", ").join(map(sql.Identifier, relation.header.key))
    rows = connection.execute(
        sql.SQL(
            "SELECT concat_ws(', ', {key}), count(*), count(*) OVER () FROM {view} GROUP BY {key} "
            "HAVING count(*) > 1 OR num_nulls({key}) > 0 ORDER BY {key} LIMIT {shown}"
        ).format(key=key, view=identifier(shadow_name(relation.name)), shown=sql.Literal(_SHOWN))
    ).fetchall()
    if rows:
        examples = "; ".join(f"({value or 'NULL'}): {count} rows" for value, count, _ in rows)
        raise BuildError(
            f"{relation.name}: the key ({', '.join(relation.header.key)}) isn't one: {rows[0][2]} of its values "
            f"stand more than once or hold NULL: {examples}. Mend the SELECT, or name another key."
        )


def _compare(connection: Connection, relation: Relation) -> str:
    """Hold the new rows against those that stand.

    Raises:
        BuildError: nothing is left of what had rows.
    """
    new, old = shadow_name(relation.name), relation.name
    if scalar(
        connection,
        "SELECT coalesce(NOT (SELECT relispopulated FROM pg_class WHERE oid = to_regclass(%s)), true)",
        [old],
    ):
        return ""
    count = sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(
        identifier(old), identifier(new)
    )
    before, after = one_row(connection, count)
    if before and not after:
        raise BuildError(
            f"{old}: the new definition gives no row, the one that stands has {before}. "
            "If that is right, drop the view first; else mend the SELECT."
        )
    text = f"{before} rows → {after}"
    key = relation.header.key
    if not {(name, columns(connection, new)[name]) for name in key} <= columns(connection, old).items():
        return text
    names = sql.SQL(", ").join(map(sql.Identifier, key))
    side = sql.SQL("(SELECT count(*) FROM (SELECT {key} FROM {a} EXCEPT SELECT {key} FROM {b}) AS keys)")
    gone, added = one_row(
        connection,
        sql.SQL("SELECT {}, {}").format(
            side.format(key=names, a=identifier(old), b=identifier(new)),
            side.format(key=names, a=identifier(new), b=identifier(old)),
        ),
    )
    return f"{text}; {gone} keys gone, {added} new"
