"""`backfill`: derives days of a kind again from raw, then refreshes what lies downstream, in one run."""

from datetime import date

import dagster as dg

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.runs import run_job
from mv_pipeline.defs.assets.intake import intake_step_name
from mv_pipeline.defs.jobs import INGEST, downstream_keys, intake_keys


def backfill(
    catalog: Catalog, kind: FileKind, first: date, last: date
) -> tuple[dict[str, int], dg.ExecuteInProcessResult]:
    """Derive the stg rows of a kind from `first` to `last`, both included, and refresh downstream.

    Returns:
        Days with raw rows and rows inserted, updated and soft-deleted, by name; and the run's result.
    """
    _, stg = intake_keys(kind)
    result = run_job(
        INGEST,
        [stg, *downstream_keys(catalog, {f"stg.{kind.name}"})],
        {
            "ops": {
                intake_step_name(kind): {
                    "config": {"derive_from": first.isoformat(), "derive_to": last.isoformat()},
                }
            }
        },
        title=f"Deriving {kind.name}",
        days=(first, last),
    )
    totals: dict[str, int] = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key == stg and event.partition is None:
            totals = {
                name: int(str(value.value))
                for name, value in event.step_materialization_data.materialization.metadata.items()
                if name in ("days", "inserted", "updated", "deleted")
            }
    return totals, result
