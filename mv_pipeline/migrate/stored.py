"""The tables that store rollups' rows: making one, filling it in parts, and dropping those of earlier definitions.

A definition has a table of its own. So a new one is filled while readers use the old one, and an interrupted
migration goes on where it stopped. When days change later, `refresh.rollup` computes them anew.
"""

from collections.abc import Callable, Iterable

from psycopg import sql

from mv_pipeline.catalog.realtime import CHANGED_AT
from mv_pipeline.catalog.relations import Rollup
from mv_pipeline.catalog.tables import TRACKED
from mv_pipeline.database.connection import Connection, identifier, limit_waits, scalar
from mv_pipeline.migrate.adopt.obsolete import PARKED_ROLLUP
from mv_pipeline.migrate.indexes import Index
from mv_pipeline.migrate.state import kind_of
from mv_pipeline.migrate.table_shapes import column_types
from mv_pipeline.refresh.rollup import fill_days, fresh_rows, owe_days

# A quarter of days a transaction: two million lines over five years take twenty of them.
_DAYS_AT_ONCE = 92


def create_stored(connection: Connection, rollup: Rollup, query: str) -> None:
    """Create the empty table of a rollup, with every day owed to it.

    Args:
        connection: in a transaction.
        query: its SELECT, from which the columns' types are taken.
    """
    stored = identifier(rollup.stored)
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT *, NULL::timestamptz AS {} FROM ({}\n) AS rows WITH NO DATA").format(
            stored, sql.Identifier(CHANGED_AT), sql.SQL(query)
        )
    )
    key = sql.SQL(", ").join(map(sql.Identifier, rollup.key))
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(stored, key))
    for columns in rollup.header.indexes:
        Index(rollup.stored, columns).create(connection)
    connection.execute(
        "INSERT INTO log.rollup (stored, relation, inputs, seen) VALUES (%s, %s, %s, log.seen())",
        [rollup.stored, rollup.name, list(rollup.changed_days)],
    )
    owe_days(connection, rollup)


def fill_stored(connection: Connection, rollup: Rollup, say: Callable[[str], None]) -> None:
    """Compute the days that are owed to a rollup, in parts that each are kept.

    Args:
        connection: in autocommit mode; what the rollup reads is in its place.
        say: called with what is to be done next.
    """
    if _finds_days(rollup):
        _expand(connection, rollup)
    left = 1
    while left:
        with connection.transaction():
            limit_waits(connection)
            left = fill_days(connection, rollup, _DAYS_AT_ONCE)
        say(f"{rollup.name}: {left} days to go")
    with connection.transaction():
        _keep_times(connection, rollup)


def obsolete_stored(connection: Connection, rollups: Iterable[Rollup], *, tried: bool = True) -> dict[str, str]:
    """The tables of definitions that are no more, with the rollup that each is of.

    Args:
        tried: with those that a migration couldn't drop.
    """
    current = [rollup.stored for rollup in rollups]
    rows = connection.execute(
        "SELECT stored, relation FROM log.rollup WHERE stored <> ALL (%s) AND (%s OR inputs <> '{}') ORDER BY stored",
        [current, tried],
    )
    return dict(rows.fetchall())


def forget_stored(connection: Connection, obsolete: Iterable[str]) -> None:
    """Keep the change log no longer for tables of earlier definitions; one that others still need is read live."""
    connection.execute("DELETE FROM log.rollup WHERE to_regclass(stored) IS NULL")
    kept = connection.execute(
        "UPDATE log.rollup SET inputs = '{}' WHERE stored = ANY (%s) RETURNING stored", [list(obsolete)]
    )
    for (stored,) in kept.fetchall():
        connection.execute("INSERT INTO log.rollup_day (stored) VALUES (%s) ON CONFLICT DO NOTHING", [stored])


def _keep_times(connection: Connection, rollup: Rollup) -> None:
    """Let rows that another definition gave in the same way say when they last changed, not when they were filled."""
    before = scalar(
        connection,
        "SELECT (SELECT stored FROM log.rollup WHERE relation = %s AND stored <> %s "
        "AND to_regclass(stored) IS NOT NULL ORDER BY updated_at DESC LIMIT 1)",
        [rollup.name, rollup.stored],
    )
    source = rollup.header.source_of
    if before and column_types(connection, rollup.stored).items() <= column_types(connection, before).items():
        old = sql.SQL("TABLE {}").format(identifier(before))
    elif source and kind_of(connection, PARKED_ROLLUP):
        old = sql.SQL("SELECT * FROM {} WHERE csv_type = {} AND source = {}").format(
            identifier(PARKED_ROLLUP), source.csv_type, source.source
        )
    else:
        return
    same = sql.SQL(" AND ").join(
        sql.SQL("new.{0} IS NOT DISTINCT FROM old.{0}" if column not in rollup.key else "new.{0} = old.{0}").format(
            sql.Identifier(column)
        )
        for column in rollup.output
    )
    connection.execute(
        sql.SQL("UPDATE {} AS new SET {changed_at} = old.{changed_at} FROM ({}) AS old WHERE {}").format(
            identifier(rollup.stored), old, same, changed_at=sql.Identifier(CHANGED_AT)
        )
    )


def _finds_days(rollup: Rollup) -> bool:
    """True if an index finds the lines of a day: it is a column of its table, not computed from others."""
    return all(TRACKED[table].isidentifier() for table, day in rollup.changed_days.items() if day)


def _expand(connection: Connection, rollup: Rollup) -> None:
    """Owe each day that has rows instead of every day."""
    with connection.transaction():
        every_day = "DELETE FROM log.rollup_day WHERE stored = %s AND day IS NULL RETURNING noted_at"
        owed = connection.execute(every_day, [rollup.stored]).fetchone()
        if owed:
            connection.execute(
                sql.SQL(
                    "INSERT INTO log.rollup_day (stored, day, noted_at) SELECT {stored}, day, %s FROM ("
                    "SELECT {day} AS day FROM ({fresh}) AS fresh UNION SELECT {day} FROM {table}) AS days "
                    "ON CONFLICT DO NOTHING"
                ).format(
                    stored=sql.Literal(rollup.stored),
                    day=sql.Identifier(rollup.day),
                    fresh=fresh_rows(rollup),
                    table=identifier(rollup.stored),
                ),
                owed,
            )
