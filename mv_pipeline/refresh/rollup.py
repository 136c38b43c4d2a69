"""Rollups: bringing the stored rows of the days that have changed up to date.

What readers see doesn't depend on it: a day that isn't stored yet is computed while it is read (`catalog.realtime`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg import sql

from mv_pipeline.catalog.realtime import CHANGED_AT
from mv_pipeline.catalog.relations import Rollup
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.settings import OperatorError


class RollupKeyError(OperatorError):
    """A rollup's key doesn't identify its rows."""


@dataclass(frozen=True)
class RollupUpdate:
    """What one update of a rollup did.

    Args:
        days: the days computed anew; None: every day.
        rows_changed: stored rows written or removed.
    """

    days: int | None
    rows_changed: int


def update_rollup(connection: Connection, rollup: Rollup) -> RollupUpdate:
    """Compute the days anew that the stored rows haven't seen.

    Two updates of a rollup never overlap. What is committed while this one computes is news to the next.

    Args:
        connection: in a transaction.

    Raises:
        RollupKeyError: its key doesn't identify its rows.
    """
    _lock(connection, rollup)
    # What a statement can see, and what is news, is told by that one statement.
    rows = connection.execute(
        sql.SQL("SELECT day, max(noted_at), log.seen()::text FROM ({}) AS news GROUP BY day").format(
            sql.SQL(rollup.news)
        )
    ).fetchall()
    if not rows:
        return RollupUpdate(0, 0)
    news = {day: noted_at for day, noted_at, _ in rows}
    changed = _recompute(connection, rollup, news)
    connection.execute(
        "WITH done AS (DELETE FROM log.rollup_day WHERE stored = %(stored)s) "
        "UPDATE log.rollup SET seen = %(seen)s::pg_snapshot, updated_at = clock_timestamp() WHERE stored = %(stored)s",
        {"stored": rollup.stored, "seen": rows[0][2]},
    )
    return RollupUpdate(None if None in news else len(news), changed)


def rollups_with_news(connection: Connection, rollups: Iterable[Rollup]) -> list[str]:
    """The names of the rollups that have changes to store."""
    stored = {row[0] for row in connection.execute("SELECT DISTINCT stored FROM log.v_rollup_news")}
    return [rollup.name for rollup in rollups if rollup.stored in stored]


def owe_days(connection: Connection, rollup: Rollup, days: Sequence[date | None] = (None,)) -> None:
    """Have the next update compute days anew, whether anything has changed or not; None is every day."""
    connection.execute(
        "INSERT INTO log.rollup_day (stored, day) SELECT %s, day FROM unnest(%s::date[]) AS day ON CONFLICT DO NOTHING",
        [rollup.stored, list(days)],
    )


def fill_days(connection: Connection, rollup: Rollup, at_most: int) -> int:
    """Compute some of the days that are owed, the oldest first.

    Args:
        connection: in a transaction.
        at_most: how many days to do.

    Returns:
        How many days are still owed; every day counts as one.

    Raises:
        RollupKeyError: its key doesn't identify its rows.
    """
    _lock(connection, rollup)
    owed = connection.execute(
        "DELETE FROM log.rollup_day WHERE stored = %(stored)s AND (day IS NULL OR day IN ("
        "SELECT day FROM log.rollup_day WHERE stored = %(stored)s ORDER BY day LIMIT %(at_most)s)) "
        "RETURNING day, noted_at",
        {"stored": rollup.stored, "at_most": at_most},
    ).fetchall()
    if owed:
        _recompute(connection, rollup, dict(owed))
    left: int = scalar(connection, "SELECT count(*) FROM log.rollup_day WHERE stored = %s", [rollup.stored])
    return left


def fresh_rows(rollup: Rollup) -> sql.Composed:
    """The query for all of a rollup's rows, computed from what it reads; to be executed with parameters, be it none."""
    # On a line of its own, as the file may end in a comment.
    query = "SELECT * FROM ({}\n) AS live WHERE {} IS NOT NULL"
    return sql.SQL(query).format(sql.SQL(rollup.query.replace("%", "%%")), sql.Identifier(rollup.day))


def _lock(connection: Connection, rollup: Rollup) -> None:
    connection.execute("SELECT FROM log.rollup WHERE stored = %s FOR UPDATE", [rollup.stored])


def _recompute(connection: Connection, rollup: Rollup, news: Mapping[date | None, datetime]) -> int:
    """Make stored rows what is computed now; returns how many were written or removed.

    Args:
        connection: in a transaction.
        news: when the newest change of each day was noted; with None, all rows are computed.
    """
    if None in news:
        fresh = sql.SQL("SELECT live.*, %(noted_at)s::timestamptz AS {} FROM ({}) AS live").format(
            sql.Identifier(CHANGED_AT), fresh_rows(rollup)
        )
        return _replace_rows(connection, rollup, fresh, sql.SQL("true"), {"noted_at": max(news.values())})
    day = sql.Identifier(rollup.day)
    fresh = sql.SQL(
        "SELECT live.*, news.noted_at AS {changed_at} FROM ({rows}) AS live "
        "JOIN unnest(%(days)s::date[], %(times)s::timestamptz[]) AS news (day, noted_at) ON news.day = live.{day} "
        "WHERE live.{day} = ANY (%(days)s)"
    ).format(changed_at=sql.Identifier(CHANGED_AT), rows=fresh_rows(rollup), day=day)
    of_days = sql.SQL("stored.{} = ANY (%(days)s)").format(day)
    return _replace_rows(connection, rollup, fresh, of_days, {"days": [*news], "times": [*news.values()]})


def _replace_rows(
    connection: Connection, rollup: Rollup, fresh: sql.Composed, stored_ones: sql.Composable, params: dict[str, object]
) -> int:
    """Write rows that differ from those stored, and remove those that are no more.

    Args:
        connection: in a transaction.
        fresh: the query for the rows to have, with when they changed.
        stored_ones: which of the stored rows they replace.
        params: of both.

    Returns:
        How many stored rows were written or removed.
    """
    values = [column for column in rollup.output if column not in rollup.key]
    query = read_query(__file__, "store").format(
        fresh=fresh,
        stored=identifier(rollup.stored),
        columns=_columns([*rollup.output, CHANGED_AT]),
        key=_columns(rollup.key),
        update=_update(values) if values else sql.SQL("DO NOTHING"),
        stored_ones=stored_ones,
        same_key=sql.SQL(" AND ").join(
            sql.SQL("fresh.{0} = stored.{0}").format(sql.Identifier(column)) for column in rollup.key
        ),
    )
    try:
        return connection.execute(query, params).rowcount
    except (psycopg.errors.CardinalityViolation, psycopg.errors.NotNullViolation) as error:
        raise RollupKeyError(
            f"{rollup.name}: the key ({', '.join(rollup.key)}) doesn't identify its rows: "
            f"{error.diag.message_primary}. Name in `key` what the SELECT groups by, and let none of it be NULL."
        ) from error


def _update(values: Sequence[str]) -> sql.Composed:
    assignments = (sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in [*values, CHANGED_AT])
    return sql.SQL("DO UPDATE SET {} WHERE ROW({}) IS DISTINCT FROM ROW({})").format(
        sql.SQL(", ").join(assignments), _columns(values, "old"), _columns(values, "excluded")
    )


def _columns(names: Sequence[str], table: str = "") -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*filter(None, (table, name))) for name in names)
