"""Putting relations from their shadow schemas in their places: one short transaction, in which nothing is computed.

The old ones are parked and dropped. Views of others that read one of them are pointed at the new one. Whatever
else still needs an old one keeps it where it is parked, as do relations that a later swap replaces; the end of the
migration tries again to drop it.
"""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg import sql
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, identifier, limit_waits, read_query, scalar
from mv_pipeline.migrate import roles
from mv_pipeline.migrate.attributes import copy_attributes, describe, record, record_lineage
from mv_pipeline.migrate.build import Built, acting, fill
from mv_pipeline.migrate.dependents import UnmanagedDependent, read_needs, read_unmanaged_dependents
from mv_pipeline.migrate.state import kind_of
from mv_pipeline.migrate.stored import forget_stored, obsolete_stored
from mv_pipeline.refresh.views import log_refresh
from mv_pipeline.settings import OperatorError

_PARKED = "mv_pipeline_old"
# Below PostgreSQL's deadlock_timeout of a second, so that it is never a reader or an upload that is sent away.
_LONGEST_WAIT_MS = 900
_TRIES = 60
_LONGEST_PAUSE_S = 2.0

T = TypeVar("T")


class BusyError(OperatorError):
    """The locks couldn't be had; the message says who holds them."""


def retry(connection: Connection, names: Sequence[str], attempt: Callable[[str], T]) -> T:
    """Try until the locks can be had; each try gives up before anybody is kept waiting for long.

    Args:
        connection: to see who holds locks.
        names: the relations whose locks are needed.
        attempt: one transaction, given how long it may wait for locks, as PostgreSQL has it; raises LockNotAvailable or
            DeadlockDetected if it can't have them.

    Raises:
        BusyError: it couldn't be done in all tries.
    """
    tries = Retrying(
        retry=retry_if_exception_type((psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_S),
    )
    try:
        return tries(lambda: attempt(f"{min(_LONGEST_WAIT_MS, 100 * 1.1 ** tries.statistics['attempt_number']):.0f}ms"))
    except RetryError:
        raise BusyError(
            f"What has to be changed was in use at each of {_TRIES} tries. {who_holds(connection, names)} "
            "Try again when that has ended."
        ) from None


def swap(
    connection: Connection, catalog: Catalog, built: Sequence[Built], obsolete: Sequence[str], wait: str
) -> dict[str, str]:
    """Put what was built in its place, and drop what is obsolete.

    Args:
        connection: in one transaction; the caller retries it if locks can't be had.
        built: what was built, each behind what it reads.
        obsolete: relations to drop, unless an unmanaged dependent needs them.
        wait: for how long readers may be kept waiting.

    Returns:
        How the rows compare with those before, by relation.

    Raises:
        psycopg.errors.LockNotAvailable: somebody holds a lock for too long.
    """
    built = [_catch_up(connection, catalog, made) for made in built]
    replaced = [made for made in built if kind_of(connection, made.relation.name)]
    # Readers lock a view before what it reads, so what reads the others comes first.
    names = [made.relation.name for made in reversed(replaced)]
    unmanaged = read_unmanaged_dependents(connection, names, [*catalog.relations, *obsolete])
    pointed = [dependent for dependent in unmanaged if not dependent.materialized]
    for made in built:
        if made in replaced:
            with acting(connection, made.relation):
                copy_attributes(connection, made.relation)
        else:
            describe(connection, made.relation, made.name)
    _lock(connection, [*(view.name for view in pointed), *obsolete, *names], wait)
    limit_waits(connection)
    parked = [_park(connection, made.relation) for made in reversed(replaced)]
    for made in built:
        with acting(connection, made.relation):
            _move(connection, made.name, made.relation.schema)
    with roles.as_caller(connection):
        for view in pointed:
            statement = sql.SQL("CREATE OR REPLACE VIEW {} {} AS {}")
            connection.execute(statement.format(identifier(view.name), sql.SQL(view.options), sql.SQL(view.query)))
    for made in built:
        if isinstance(made.relation, UnmanagedDependent):
            continue
        record(connection, made.relation)
        if made.relation.materialized:
            log_refresh(connection, made.relation, "create", made.seconds, made.snapshot, None)
    record_lineage(connection, catalog)
    _drop(connection, [*obsolete, *parked])
    return {made.relation.name: made.comparison for made in built if made.comparison}


def _catch_up(connection: Connection, catalog: Catalog, made: Built) -> Built:
    """Refresh what was built if something upstream or the date has changed since, so that no reader is set back."""
    if not made.snapshot:
        return made
    # log.v_view_status doesn't say it: what has taken no place yet has no refresh in the log.
    stale = scalar(
        connection,
        "SELECT ref.business_date() <> %s OR EXISTS (SELECT FROM log.change_note WHERE relation = ANY (%s) "
        "AND NOT pg_visible_in_snapshot(xid, %s::pg_snapshot))",
        [made.business_date, sorted(catalog.upstream(made.relation.name)), made.snapshot],
    )
    return fill(connection, made) if stale else made


def _lock(connection: Connection, names: Sequence[str], wait: str) -> None:
    """Take the locks of all relations that are to be moved or dropped, or none.

    One statement takes them all: with a round trip between two of them, a reader who takes them in another order would
    nearly always come between.

    Args:
        connection: in a transaction.
        names: of views and materialized views.
        wait: for how long everybody may be kept waiting.

    Raises:
        psycopg.errors.LockNotAvailable: somebody held one for too long.
    """
    # Giving something to its owner changes nothing, but takes the lock that moving it needs.
    statements = scalar(
        connection,
        read_query(__file__, "own_again"),
        [list(names)],
    )
    if not statements:
        return
    limit_waits(connection, statement_timeout=wait)
    try:
        with roles.as_caller(connection):
            connection.execute(sql.SQL("DO {}").format(sql.Literal(f"BEGIN {statements} END")))
    except psycopg.errors.QueryCanceled as error:
        raise psycopg.errors.LockNotAvailable(str(error)) from error


def _park(connection: Connection, relation: Relation) -> str:
    """Park an existing relation in a schema of its own, and return its name there."""
    # Whoever runs the migration can move both ours and others' there.
    with roles.as_caller(connection):
        for number in itertools.count(1):
            parked = f"{_PARKED}{number if number > 1 else ''}_{relation.schema}"
            if kind_of(connection, f"{parked}.{relation.table}") is None:
                break
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(parked)))
        _move(connection, relation.name, parked)
    return f"{parked}.{relation.table}"


def _move(connection: Connection, name: str, schema: str) -> None:
    # ALTER TABLE serves views and materialized views too.
    statement = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
    connection.execute(statement.format(identifier(name), sql.Identifier(schema)))


def _drop(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Drop relations in an order that their dependencies allow.

    Returns:
        Those that something else needs, which are kept, and the reason.
    """
    kept: dict[str, str] = {}
    waiting = list(names)
    with roles.as_caller(connection):
        while waiting:
            kept = {name: reason for name in waiting if (reason := _try_to_drop(connection, name))}
            if len(kept) == len(waiting):
                break
            waiting = list(kept)
    connection.execute("DELETE FROM log.relation WHERE name = ANY (%s) AND name <> ALL (%s)", [[*names], [*kept]])
    return kept


def _try_to_drop(connection: Connection, name: str) -> str:
    """Drop a relation unless something needs it; returns what does."""
    kind = kind_of(connection, name)
    # DROP would lock whatever needs the relation before it refuses, and that may be read all the time.
    readers = [what for _, what, _ in read_needs(connection, [name])] if kind else []
    if kind and not readers:
        connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind.upper()), identifier(name)))
    return f"{', '.join(readers)} {'needs' if len(readers) == 1 else 'need'} it" if readers else ""


def drop_functions(connection: Connection, names: Sequence[str]) -> list[str]:
    """Drop functions that nothing needs.

    Args:
        connection: in one transaction.
        names: with their arguments' types.

    Returns:
        The names of those dropped.
    """
    dropped = []
    for name in names:
        with contextlib.suppress(psycopg.errors.DependentObjectsStillExist), connection.transaction():
            connection.execute(sql.SQL("DROP FUNCTION {}").format(sql.SQL(name)))
            dropped.append(name)
    return dropped


def who_holds(connection: Connection, names: Sequence[str], *, writing: bool = False) -> str:
    """Say in a sentence which sessions hold locks on relations.

    Args:
        names: the relations'.
        writing: only locks that keep a lock of `lock_table` away.
    """
    rows = connection.execute(read_query(__file__, "lock_holders"), [list(names), writing]).fetchall()
    return "; ".join(text for _, text in rows) + "." if rows else "Nobody holds them any more."


def sweep(connection: Connection, catalog: Catalog) -> dict[str, str]:
    """Try again to drop what earlier swaps have parked, rollups' tables of earlier definitions, and empty schemas.

    Args:
        connection: in one transaction.

    Returns:
        What is still needed, and by what.
    """
    rows = connection.execute(
        "SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace "
        # Nothing can read what was made after it, so dependents come first.
        "WHERE relkind IN ('v', 'm', 'r', 'p') AND n.nspname ^@ %s ORDER BY c.oid DESC",
        [_PARKED],
    )
    obsolete = obsolete_stored(connection, catalog.rollups)
    kept = _drop(connection, [*(row[0] for row in rows), *obsolete])
    forget_stored(connection, obsolete)
    with roles.as_caller(connection):
        for (schema,) in connection.execute(
            "SELECT nspname FROM pg_namespace AS n WHERE nspname ^@ %s "
            "AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)",
            [_PARKED],
        ).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))
    return kept
