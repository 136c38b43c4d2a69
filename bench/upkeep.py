"""Section `upkeep`: the nightly proof, and deriving five years of a kind again from its raw lines."""

from psycopg import sql

from bench import data, ours, rivals
from bench.report import BACKFILL, BACKFILL_SAME, OURS, PROOF
from bench.stage import RECEIVE_KIND, Stage, stopwatch
from mv_pipeline.catalog.csv_kinds import FileKind, find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.recompute import compare_rollup, compare_view
from mv_pipeline.database.connection import Connection, Database, identifier, scalar
from mv_pipeline.intake.backfill import derive_days, months
from mv_pipeline.refresh.rollup import update_rollup

PROOF_SECTION = "Nightly proof"
BACKFILL_SECTION = "Backfill"


def prove(stage: Stage, databases: dict[int, Database]) -> None:
    """Measure the comparison of every rollup and view with a full recompute, by size."""
    for rows, database in databases.items():
        times: list[float] = []
        with database.connect() as connection:
            for number in range(stage.options.slow_rounds):
                stage.say(f"proof, {rows:,} rows, round {number + 1}")
                with stopwatch(times):
                    differences = [
                        *(compare_rollup(connection, rollup) for rollup in stage.catalog.rollups),
                        *(compare_view(connection, view) for view in stage.catalog.materialized_views),
                    ]
                if any(difference.rows for difference in differences):
                    raise rivals.BenchError(f"The proof found differences: {differences}")
        stage.results.add(PROOF_SECTION, PROOF, OURS, times, size=rows)


def backfill(stage: Stage, rows: int, database: Database) -> None:
    """Measure the derivation of five years of final receive lines, triggers and rollup included.

    Afterwards nothing of the history is left but what counts.
    """
    kind = find_kind(RECEIVE_KIND)
    empty: list[float] = []
    same: list[float] = []
    with database.connect() as connection:
        stage.say(f"raw lines, {rows:,} rows")
        data.fill_raw(connection, kind)
        lines = _count(connection, f"raw.{kind.name}")
        active = _count(connection, f"stg.v_active_{kind.name}")
        stage.say(f"backfill, {rows:,} rows")
        connection.execute(sql.SQL("TRUNCATE {}").format(identifier(f"stg.{kind.name}")))
        for times, expected in ((empty, active), (same, 0)):
            with stopwatch(times):
                written, changed_rows = _derive(stage.catalog, connection, kind)
            if (written, changed_rows) != (expected, 0):
                raise rivals.BenchError(
                    f"{written} rows were derived, {changed_rows} stored rows differ; {expected} and none expected."
                )
    note = f"{lines:,} raw lines, rollup included"
    stage.results.add(BACKFILL_SECTION, BACKFILL, OURS, empty, size=rows, note=note)
    stage.results.add(BACKFILL_SECTION, BACKFILL_SAME, OURS, same, size=rows, note=note)


def _derive(catalog: Catalog, connection: Connection, kind: FileKind) -> tuple[int, int]:
    """Derive everything as the asset's step does, and return the rows written and the rows changed in rollups."""
    written = 0
    for first, last in months(data.FIRST_DAY, data.LAST_DAY):
        with connection.transaction():
            done = derive_days(connection, kind, first, last)
            written += done.inserted + done.updated + done.deleted
    changed = 0
    for rollup in ours.rollups(catalog):
        with connection.transaction():
            changed += update_rollup(connection, rollup).rows_changed
    return written, changed


def _count(connection: Connection, relation: str) -> int:
    return int(scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(relation))))
