"""The proof: rollup and views compared with a full recompute from the staging lines, and repaired where they differ.

It reads everything, so it belongs to the nightly run and to the command `proof`, never to an upload.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from functools import partial

from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation, Rollup
from mv_pipeline.checks.check import CheckResult, Metadata, first_of, one_snapshot
from mv_pipeline.checks.news import compared_views, news_of
from mv_pipeline.database.connection import Connection, Database, identifier, one_row, scalar
from mv_pipeline.migrate.state import DRIFT_REMEDY, describe_drift, read_drift
from mv_pipeline.refresh.rollup import RollupKeyError, fresh_rows, owe_days, update_rollup
from mv_pipeline.refresh.views import read_view_status, refresh_view

_SHOWN = 10
_LOOKS = 5


@dataclass(frozen=True)
class Difference:
    """Where a table or view isn't what a full recompute gives.

    Args:
        rows: rows that only one of the two has.
        days: the days of those rows, where they have a day.
    """

    rows: int
    days: list[date]


@dataclass(frozen=True)
class Proof:
    """What differed before and after the repair, and why.

    Args:
        before, after: as in `Difference`.
        cause: why it differed, and what to do about that; empty if nothing did.
        excuse: why what differed is no fault, as the end of a sentence; nothing was repaired then.
    """

    before: Difference
    after: Difference
    cause: str = ""
    excuse: str = ""

    def result(self, *, repaired: bool = True) -> CheckResult:
        """The proof as a check's result; it fails if anything differed, repaired or not.

        Args:
            repaired: whether the repair was kept.
        """
        rows = self.before.rows
        left = self.after.rows
        metadata: Metadata = {"rows": rows, "rows_after": left, "days": len(self.before.days)}
        message = f"{rows} rows found that differ from a full recompute, 0 expected"
        if not rows or self.excuse:
            reason = f" This is no fault: {self.excuse}." if self.excuse else ""
            return CheckResult(True, f"{message}.{reason}", metadata)
        days = f" ({first_of(self.before.days, _SHOWN)})" if self.before.days else ""
        repair = "" if repaired or left else "Run `mv-pipeline proof --repair`. "
        after = f"{left} differ after the repair" if repaired else f"{left} would differ after a repair"
        return CheckResult(False, f"{message}{days}; {after}.", metadata, repair + self.cause)


def compare_rollup(connection: Connection, rollup: Rollup) -> Difference:
    """Compare what readers of a rollup see with what its SELECT gives now, on all days, by symmetric EXCEPT ALL."""
    seen = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, rollup.output)), identifier(rollup.name)
    )
    return _differ(connection, fresh_rows(rollup), seen, rollup.day)


def compare_view(connection: Connection, view: Relation) -> Difference:
    """Compare a materialized view with what its definition gives now, by symmetric EXCEPT ALL.

    That is the definition in the database: whether it is the file's is the business of the check `definition`.
    """
    definition = scalar(connection, "SELECT rtrim(pg_get_viewdef(%s::regclass), ';')", [view.name])
    day = view.header.key[0] if view.header.days else None
    return _differ(
        connection, sql.SQL(definition.replace("%", "%%")), sql.SQL("TABLE {}").format(identifier(view.name)), day
    )


def prove_rollup(connection: Connection, rollup: Rollup) -> Proof:
    """Bring a rollup up to date, compare, compute the days that differ anew and compare again, in one transaction.

    One that can't be stored is only compared: readers see what is computed live.
    """
    try:
        with connection.transaction():
            update_rollup(connection, rollup)
            before = compare_rollup(connection, rollup)
            if not before.rows:
                return Proof(before, before)
            owe_days(connection, rollup, before.days)
            update_rollup(connection, rollup)
            after = compare_rollup(connection, rollup)
            return Proof(before, after, _cause(connection, rollup.stored, list(rollup.changed_days), after))
    except RollupKeyError as error:
        found = compare_rollup(connection, rollup)
        return Proof(found, found, str(error))


def prove_view(connection: Connection, catalog: Catalog, view: Relation) -> Proof:
    """Bring a view up to date, compare, refresh it if it differs and compare again; each in its own transaction.

    Lines may change between a refresh and the comparison: what differs then is looked at again. A difference is found
    twice, as a fault is by any check.
    """
    before, excuse, is_sure = Difference(0, []), "", False
    for _ in range(_LOOKS):
        _bring_up_to_date(connection, compared_views(catalog, [view.name]))
        with one_snapshot(connection):
            before = compare_view(connection, view)
            excuse = news_of(catalog, [view.name])(connection) if before.rows else ""
        if not before.rows or (is_sure and not excuse):
            break
        is_sure = not excuse
    if not before.rows or excuse:
        return Proof(before, before, excuse=excuse)
    refresh_view(connection, view)
    after = compare_view(connection, view)
    drift = read_drift(connection, [view]) if after.rows else {}
    if any(decision.builds for decision in drift.values()):
        return Proof(before, after, f"{describe_drift(drift)}. {DRIFT_REMEDY.format(name=view.name)}")
    return Proof(before, after, _cause(connection, view.name, sorted(catalog.upstream(view.name)), after))


def _bring_up_to_date(connection: Connection, views: list[Relation]) -> None:
    for view in views:
        (status,) = read_view_status(connection, [view])
        if status.stale:
            refresh_view(connection, view)


def _cause(connection: Connection, name: str, tables: list[str], after: Difference) -> str:
    """Why rows differed: a repair that doesn't help, triggers that are disabled now, or changes of the past."""
    if after.rows:
        return (
            f"A repair doesn't help: look for a trigger or rule that changes what is written to {name}, "
            "and for a definition that gives other rows each time. Run `mv-pipeline proof` again after that is removed."
        )
    disabled = scalar(
        connection,
        "SELECT string_agg(DISTINCT tgrelid::regclass::text, ', ') FROM pg_trigger JOIN unnest(%s::text[]) AS name "
        "ON tgrelid = to_regclass(name) WHERE NOT tgisinternal AND tgname LIKE 'mv_pipeline_note_%%' "
        "AND tgenabled NOT IN ('O', 'A')",
        [tables],
    )
    if disabled:
        return f"Run `ALTER TABLE … ENABLE TRIGGER USER` on {disabled}, whose triggers are disabled."
    return "Find what changed rows untracked: triggers that were disabled meanwhile, or a dump that was loaded."


def proofs(catalog: Catalog) -> dict[str, Callable[[Connection], Proof]]:
    """How every rollup, then every materialized view is proved, by name; each in transactions of its own."""
    return {
        **{rollup.name: partial(prove_rollup, rollup=rollup) for rollup in catalog.rollups},
        **{view.name: partial(prove_view, catalog=catalog, view=view) for view in catalog.materialized_views},
    }


def prove_all(database: Database, catalog: Catalog, *, repair: bool) -> Iterator[tuple[str, Proof]]:
    """Prove every rollup, then every materialized view, as the nightly run does.

    Args:
        repair: keep what the proof does; else all of it is rolled back, reading the change log and refreshing too.

    Yields:
        Each name, and its proof.
    """
    for name, prove in proofs(catalog).items():
        with (
            database.connect(f"prove {name}") as connection,
            nullcontext() if repair else connection.transaction(force_rollback=True),
        ):
            proof = prove(connection)
        yield name, proof


def _differ(connection: Connection, expected: sql.Composable, found: sql.Composable, day: str | None) -> Difference:
    rows, days = one_row(
        connection,
        sql.SQL(
            "WITH expected AS MATERIALIZED ({expected}), found AS MATERIALIZED ({found}), wrong AS ("
            "(TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected)) "
            "SELECT count(*), array_agg(DISTINCT {day} ORDER BY {day}) FILTER (WHERE {day} IS NOT NULL) FROM wrong"
        ).format(
            expected=expected,
            found=found,
            day=sql.SQL("NULL::date") if day is None else sql.Identifier(day),
        ),
        [],
    )
    return Difference(rows, days or [])
