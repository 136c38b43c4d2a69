"""The rollup: one row per list, source and day, recomputed only for the days that the change log names.

Which source counts for a day is not decided here but in the views mart.v_<list>_source.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.tables import SOURCES, Source
from mv_pipeline.database.connection import Connection, identifier, lock_for_transaction, scalar

_EXPANDED = {f"stg.{kind.name}" for kind in KINDS}


@dataclass(frozen=True)
class RollupResult:
    """What one update of a list's rollup did.

    Args:
        notes: entries of the change log read and cleared.
        days: changed days by source table; None: every day.
        rows_changed: rollup rows written or removed.
    """

    notes: int
    days: dict[str, int | None]
    rows_changed: int


def update_rollup(connection: Connection, csv_type: str, at_most: int | None = None) -> RollupResult:
    """Recompute the days of a list that the change log names, and clear exactly those entries.

    Runs in the caller's transaction, under an advisory lock, so that two updates never overlap. An entry that is
    added meanwhile survives: its row isn't among those that were deleted here.

    Args:
        connection: in a transaction.
        csv_type: the list.
        at_most: how many days to do now, the oldest first; None: all.
    """
    lock_for_transaction(connection, "rollup", csv_type)
    notes = connection.execute(
        "DELETE FROM log.change_note WHERE relation = ANY (%(tables)s) AND (day IS NULL OR day IN ("
        "SELECT DISTINCT day FROM log.change_note WHERE relation = ANY (%(tables)s) AND day IS NOT NULL "
        "ORDER BY day LIMIT %(at_most)s)) RETURNING relation, day",
        {"tables": _tables(csv_type), "at_most": at_most},
    ).fetchall()
    counts: dict[str, int | None] = {}
    changed = 0
    for source in _sources(csv_type):
        days = {day for relation, day in notes if relation == source.table}
        if days:
            changed += _recompute(connection, source, days)
            counts[source.table] = None if None in days else len(days)
    return RollupResult(len(notes), counts, changed)


def log_days(connection: Connection, csv_type: str, days: Sequence[date | None] = (None,)) -> None:
    """Log days of all of a list's sources as changed, so that the next update recomputes them; None is every day."""
    connection.execute(
        "INSERT INTO log.change_note (relation, day) SELECT r, d FROM unnest(%s::text[]) AS r, unnest(%s::date[]) AS d",
        [_tables(csv_type), list(days)],
    )


def expand_days(connection: Connection, csv_type: str) -> int:
    """Replace the entries for every day by one for each day that has rows, so that they can be rolled up in parts.

    A source whose day has to be computed from its rows has no index on it: its days stay together.

    Returns:
        The number of days that wait to be rolled up; days that stay together count as one.
    """
    lock_for_transaction(connection, "rollup", csv_type)
    for source in _sources(csv_type):
        every_day = "DELETE FROM log.change_note WHERE relation = %s AND day IS NULL"
        if source.table in _EXPANDED and connection.execute(every_day, [source.table]).rowcount:
            connection.execute(
                sql.SQL(
                    "INSERT INTO log.change_note (relation, day) SELECT %s, day FROM ("
                    "SELECT {day} AS day FROM {active} UNION SELECT ddate FROM {rollup} "
                    "WHERE csv_type = %s AND source = %s) AS days WHERE day IS NOT NULL"
                ).format(
                    day=sql.Identifier(source.day),
                    active=identifier(source.active),
                    rollup=identifier(source.rollup),
                ),
                [source.table, csv_type, source.source],
            )
    days: int = scalar(
        connection,
        "SELECT count(DISTINCT coalesce(day::text, relation)) FROM log.change_note WHERE relation = ANY (%s)",
        [_tables(csv_type)],
    )
    return days


def _sources(csv_type: str) -> list[Source]:
    return [source for source in SOURCES if source.csv_type == csv_type]


def _tables(csv_type: str) -> list[str]:
    return [source.table for source in _sources(csv_type)]


def fresh_rows(source: Source, every_day: bool) -> sql.Composed:
    """The query that computes a source's rollup rows from its active rows, on every day or on those of `%(days)s`."""
    return sql.SQL(
        "SELECT {day} AS ddate, count(*) AS line_count, count(DISTINCT {slip}) AS slip_count, "
        "coalesce(sum({weight}), 0) AS net_weight_kg, coalesce(sum({amount}), 0) AS amount_yen "
        "FROM {active} WHERE {day} IS NOT NULL {narrow} GROUP BY {day}"
    ).format(
        day=sql.Identifier(source.day),
        slip=sql.Identifier(source.slip),
        weight=sql.Identifier(source.weight_kg),
        amount=sql.Identifier(source.amount_yen),
        active=identifier(source.active),
        narrow=sql.SQL("") if every_day else sql.SQL("AND {} = ANY (%(days)s)").format(sql.Identifier(source.day)),
    )


def _recompute(connection: Connection, source: Source, days: Collection[date | None]) -> int:
    """Make the rollup's rows of one source equal to its active rows on the given days; None is every day."""
    every_day = None in days
    query = sql.SQL(
        "WITH fresh AS MATERIALIZED ({fresh}), written AS (INSERT INTO {rollup} AS old "
        "(csv_type, source, priority, ddate, line_count, slip_count, net_weight_kg, amount_yen) "
        "SELECT %(csv_type)s, %(source)s, %(priority)s, fresh.* FROM fresh "
        "ON CONFLICT (csv_type, source, ddate) DO UPDATE SET priority = excluded.priority, "
        "line_count = excluded.line_count, slip_count = excluded.slip_count, "
        "net_weight_kg = excluded.net_weight_kg, amount_yen = excluded.amount_yen, changed_at = clock_timestamp() "
        "WHERE (old.priority, old.line_count, old.slip_count, old.net_weight_kg, old.amount_yen) IS DISTINCT FROM "
        "(excluded.priority, excluded.line_count, excluded.slip_count, excluded.net_weight_kg, excluded.amount_yen) "
        "RETURNING ddate), "
        "vanished AS (DELETE FROM {rollup} WHERE csv_type = %(csv_type)s AND source = %(source)s {of_days} "
        "AND ddate NOT IN (SELECT ddate FROM fresh) RETURNING ddate) "
        "TABLE written UNION ALL TABLE vanished"
    ).format(
        rollup=identifier(source.rollup),
        fresh=fresh_rows(source, every_day),
        of_days=sql.SQL("" if every_day else "AND ddate = ANY (%(days)s)"),
    )
    params = {"csv_type": source.csv_type, "source": source.source, "priority": source.priority, "days": list(days)}
    return connection.execute(query, params).rowcount
