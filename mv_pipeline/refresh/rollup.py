"""The rollup: one row per list, source and day, recomputed only for the days that change notes name.

Which source counts for a day is not decided here but in the views mart.v_<list>_source.
"""

from dataclasses import dataclass
from datetime import date

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.tables import SOURCES, Source
from mv_pipeline.database.connection import Connection, identifier, lock_for_transaction, scalar

_EXPANDED = {f"stg.{kind.name}" for kind in KINDS}
_OLDEST = (
    "AND (day IS NULL OR day IN (SELECT DISTINCT day FROM log.change_note WHERE relation = ANY (%(tables)s) "
    "AND day IS NOT NULL ORDER BY day LIMIT %(at_most)s))"
)


@dataclass(frozen=True)
class RollupResult:
    """What one update of a list's rollup did.

    Args:
        notes: change notes read and cleared.
        days: noted days by source table; None: every day.
        rows_changed: rollup rows written or removed.
    """

    notes: int
    days: dict[str, int | None]
    rows_changed: int


def update_rollup(connection: Connection, csv_type: str, at_most: int | None = None) -> RollupResult:
    """Recompute the days of a list that waiting notes name, and clear exactly those notes.

    Runs in the caller's transaction, under an advisory lock, so that two updates never overlap. A note that is
    added meanwhile survives: its row isn't among those that were deleted here.

    Args:
        connection: in a transaction.
        csv_type: the list.
        at_most: how many days to do now, the oldest first; None: all that are noted.
    """
    lock_for_transaction(connection, "rollup", csv_type)
    sources = [source for source in SOURCES if source.csv_type == csv_type]
    notes = connection.execute(
        sql.SQL("DELETE FROM log.change_note WHERE relation = ANY (%(tables)s) {} RETURNING relation, day").format(
            sql.SQL("" if at_most is None else _OLDEST)
        ),
        {"tables": [source.table for source in sources], "at_most": at_most},
    ).fetchall()
    days: dict[str, int | None] = {}
    changed = 0
    for source in sources:
        noted = {day for relation, day in notes if relation == source.table}
        if noted:
            every_day = None in noted
            changed += _recompute(connection, source, None if every_day else [day for day in noted if day])
            days[source.table] = None if every_day else len(noted)
    return RollupResult(len(notes), days, changed)


def log_all_days(connection: Connection, csv_type: str) -> None:
    """Note every day of a list's sources, so that the next update recomputes all of its rollup."""
    tables = [source.table for source in SOURCES if source.csv_type == csv_type]
    connection.execute("INSERT INTO log.change_note (relation) SELECT unnest(%s::text[])", [tables])


def expand_days(connection: Connection, csv_type: str) -> int:
    """Replace the notes on every day by one for each day that has rows, so that they can be rolled up in parts.

    A source whose day has to be computed from its rows has no index on it: its days stay together.

    Returns:
        The number of the newest note, for `pending_days`; 0 if there is none.
    """
    lock_for_transaction(connection, "rollup", csv_type)
    for source in SOURCES:
        if source.csv_type != csv_type or source.table not in _EXPANDED:
            continue
        noted = connection.execute(
            "DELETE FROM log.change_note WHERE relation = %s AND day IS NULL", [source.table]
        ).rowcount
        if noted:
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
    newest: int = scalar(connection, "SELECT coalesce(max(id), 0) FROM log.change_note")
    return newest


def pending_days(connection: Connection, csv_type: str, newest_note: int) -> int:
    """The number of a list's days that wait to be rolled up; every day of a source counts as one.

    Args:
        connection: to the plant's database.
        csv_type: the list.
        newest_note: notes with higher numbers don't count.
    """
    tables = [source.table for source in SOURCES if source.csv_type == csv_type]
    days: int = scalar(
        connection,
        "SELECT count(DISTINCT coalesce(day::text, relation)) FROM log.change_note "
        "WHERE relation = ANY (%s) AND id <= %s",
        [tables, newest_note],
    )
    return days


def log_days(connection: Connection, csv_type: str, days: list[date]) -> None:
    """Note days of all of a list's sources, so that the next update recomputes them."""
    tables = [source.table for source in SOURCES if source.csv_type == csv_type]
    connection.execute(
        "INSERT INTO log.change_note (relation, day) SELECT r, d FROM unnest(%s::text[]) AS r, unnest(%s::date[]) AS d",
        [tables, days],
    )


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


def _recompute(connection: Connection, source: Source, days: list[date] | None) -> int:
    """Make the rollup's rows of one source equal to its active rows on the given days (None: on all days)."""
    params = {"csv_type": source.csv_type, "source": source.source, "priority": source.priority, "days": days}
    rows: int = scalar(
        connection,
        sql.SQL(
            "WITH fresh AS MATERIALIZED ({fresh}), written AS (INSERT INTO {rollup} AS old "
            "(csv_type, source, priority, ddate, line_count, slip_count, net_weight_kg, amount_yen) "
            "SELECT %(csv_type)s, %(source)s, %(priority)s, fresh.* FROM fresh "
            "ON CONFLICT (csv_type, source, ddate) DO UPDATE SET priority = excluded.priority, "
            "line_count = excluded.line_count, slip_count = excluded.slip_count, "
            "net_weight_kg = excluded.net_weight_kg, amount_yen = excluded.amount_yen, "
            "changed_at = clock_timestamp() "
            "WHERE (old.priority, old.line_count, old.slip_count, old.net_weight_kg, old.amount_yen) IS DISTINCT FROM "
            "(excluded.priority, excluded.line_count, excluded.slip_count, excluded.net_weight_kg, "
            "excluded.amount_yen) RETURNING 1), "
            "vanished AS (DELETE FROM {rollup} WHERE csv_type = %(csv_type)s AND source = %(source)s {noted} "
            "AND ddate NOT IN (SELECT ddate FROM fresh) RETURNING 1) "
            "SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM vanished)"
        ).format(
            rollup=identifier(source.rollup),
            fresh=fresh_rows(source, every_day=days is None),
            noted=sql.SQL("" if days is None else "AND ddate = ANY (%(days)s)"),
        ),
        params,
    )
    return rows
