"""The proof: rollup and views compared with a full recompute from the staging lines, and repaired where they differ.

It reads everything, so it belongs to the nightly run and to whoever asks for it, never to an upload.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.sources import SOURCES
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database.connection import Connection, Database, identifier, one_row
from mv_pipeline.refresh.rollup import fresh_rows, log_days, update_rollup
from mv_pipeline.refresh.views import last_refresh, refresh_view

_SHOWN = 10


@dataclass(frozen=True)
class Difference:
    """Where a table or view isn't what a full recompute gives.

    Args:
        rows: rows that only one of the two has.
        days: the days of those rows, where they have a day.
    """

    rows: int
    days: list[date]

    def sentence(self, *, repaired: bool = True) -> str:
        """What was found and expected, and what to do.

        Args:
            repaired: whether the rows have been put right.
        """
        said = f"{self.rows} rows found that differ from a full recompute, 0 expected"
        if not self.rows:
            return f"{said}."
        more = " …" if len(self.days) > _SHOWN else ""
        days = f" ({', '.join(map(str, self.days[:_SHOWN]))}{more})" if self.days else ""
        done = "; they have been repaired" if repaired else ""
        todo = "Find out" if repaired else "Run `mv-pipeline proof --repair`, and find out"
        return f"{said}{days}{done}. {todo} what changed rows without a note: triggers switched off, or a dump loaded."


def compare_rollup(connection: Connection, csv_type: str) -> Difference:
    """Compare a list's rollup with its staging lines, on all days, by symmetric EXCEPT ALL."""
    sources = [source for source in SOURCES if source.csv_type == csv_type]
    expected = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::text AS source, fresh.* FROM ({}) AS fresh").format(
            sql.Literal(source.source), fresh_rows(source, every_day=True)
        )
        for source in sources
    )
    standing = sql.SQL("SELECT source, ddate, line_count, slip_count, net_weight_kg, amount_yen FROM {}").format(
        identifier(sources[0].rollup)
    )
    return _differ(connection, expected, standing, "ddate")


def compare_view(connection: Connection, view: Relation) -> Difference:
    """Compare a materialized view with what its definition gives now, by symmetric EXCEPT ALL."""
    day = view.header.key[0] if view.header.days else None
    # A file may end in a comment, which goes on to the end of its line.
    return _differ(connection, sql.SQL(f"{view.query}\n"), sql.SQL("TABLE {}").format(identifier(view.name)), day)


def prove_rollup(connection: Connection, csv_type: str) -> Difference:
    """Read waiting notes, compare, and recompute the days that differ, in the caller's transaction.

    Returns:
        What differed before the repair.
    """
    update_rollup(connection, csv_type)
    difference = compare_rollup(connection, csv_type)
    if difference.rows:
        log_days(connection, csv_type, difference.days)
        update_rollup(connection, csv_type)
    return difference


def prove_view(connection: Connection, catalog: Catalog, view: Relation, run_id: str | None = None) -> Difference:
    """Refresh a view that has news, compare, and refresh it if it differs; each in a transaction of its own.

    Returns:
        What differed before the repair.
    """
    last = last_refresh(connection, catalog, view)
    if last is None or not last.fresh:
        refresh_view(connection, view, run_id)
    difference = compare_view(connection, view)
    if difference.rows:
        refresh_view(connection, view, run_id)
    return difference


def prove_all(database: Database, catalog: Catalog, *, repair: bool) -> Iterator[tuple[str, Difference]]:
    """Prove every rollup, then every materialized view, as the night does.

    Args:
        database: the plant's.
        catalog: the relations.
        repair: keep what the proof does; else each one's work, reading notes and refreshing too, is taken back.

    Yields:
        Each name, and what differed.
    """
    for csv_type, table in ROLLUPS.items():
        with (
            database.connect(f"prove {csv_type}") as connection,
            connection.transaction(force_rollback=not repair),
        ):
            difference = prove_rollup(connection, csv_type)
        yield table.name, difference
    for view in catalog.materialized_views:
        with (
            database.connect(f"prove {view.name}") as connection,
            # A repair's refreshes are transactions of their own.
            nullcontext() if repair else connection.transaction(force_rollback=True),
        ):
            difference = prove_view(connection, catalog, view)
        yield view.name, difference


def _differ(connection: Connection, expected: sql.Composable, standing: sql.Composable, day: str | None) -> Difference:
    rows, days = one_row(
        connection,
        sql.SQL(
            "WITH expected AS MATERIALIZED ({expected}), standing AS MATERIALIZED ({standing}), wrong AS ("
            "(TABLE expected EXCEPT ALL TABLE standing) UNION ALL (TABLE standing EXCEPT ALL TABLE expected)) "
            "SELECT count(*), array_agg(DISTINCT {day} ORDER BY {day}) FILTER (WHERE {day} IS NOT NULL) FROM wrong"
        ).format(
            expected=expected,
            standing=standing,
            day=sql.SQL("NULL::date") if day is None else sql.Identifier(day),
        ),
    )
    return Difference(rows, days or [])
