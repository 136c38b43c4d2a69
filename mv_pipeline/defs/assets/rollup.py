"""mart/rollup_daily_<list>: the thin table under the materialized views."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database.connection import Database, limit_waits
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.assets.failures import RETRIES, failing_at_once
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.rollup import log_days, update_rollup


class RollupConfig(dg.Config):
    """How to roll up.

    Args:
        full: recompute every day from the staging lines, changed or not.
    """

    full: bool = False


def build_rollup_asset(catalog: Catalog, csv_type: str) -> dg.AssetsDefinition:
    """Make the rollup asset of one list."""
    table = ROLLUPS[csv_type]

    @dg.asset(
        **describe.table(table.name, "rollup", "table", table.description, table.description_en),
        deps=describe.asset_keys(catalog.inputs(table.name)),
        retry_policy=RETRIES,
        op_tags=describe.FIRST,
    )
    def rollup(config: RollupConfig, database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
        with (
            failing_at_once(f"{table.name} could not be brought up to date"),
            database.transaction(f"roll up {table.name}") as connection,
        ):
            # A crash that takes the commit back brings the change log back too, so it needn't wait for the disk.
            limit_waits(connection, synchronous_commit="off")
            detect_restore(connection)
            if config.full:
                log_days(connection, csv_type)
            result = update_rollup(connection, csv_type)
            return dg.MaterializeResult(
                metadata={
                    **describe.measure(connection, table.name),
                    "notes_read": result.notes,
                    "rows_changed": result.rows_changed,
                    "noted_days": {name: "all" if days is None else days for name, days in result.days.items()},
                }
            )

    return rollup
