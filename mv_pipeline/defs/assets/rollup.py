"""Rollups: a run stores the days that have changed."""

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Rollup
from mv_pipeline.database.connection import Database, limit_waits
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.assets.failures import RETRIES, report_failure
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.rollup import RollupKeyError, owe_days, update_rollup


class RollupConfig(dg.Config):
    """How to roll up.

    Args:
        full: recompute every day from the staging lines, changed or not.
    """

    full: bool = False


def build_rollup_asset(rollup: Rollup) -> dg.AssetsDefinition:
    """Make the asset of one rollup.

    One that can't be stored is reported and stops nothing: what reads it is refreshed from rows that are computed live.
    """

    @dg.asset(
        **describe.view(rollup, "rollup"),
        deps=describe.asset_keys(rollup.dependencies),
        code_version=rollup.definition_hash[:12],
        retry_policy=RETRIES,
        op_tags=describe.FIRST,
    )
    def stored_days(
        context: dg.AssetExecutionContext, config: RollupConfig, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        try:
            with database.transaction(f"roll up {rollup.name}") as connection:
                # A crash that takes the commit back brings the change log back too, so it needn't wait for the disk.
                limit_waits(connection, synchronous_commit="off")
                detect_restore(connection)
                if config.full:
                    owe_days(connection, rollup)
                update = update_rollup(connection, rollup)
                metadata = describe.measure(connection, rollup.name)
        except (psycopg.Error, RollupKeyError) as error:
            reason = report_failure(context, database, rollup, error)
            context.log.error(f"{rollup.name} could not be stored; each read computes what has changed: {reason}")
            return dg.MaterializeResult(metadata={"stored": False})
        days = "all" if update.days is None else update.days
        metadata |= {"stored": True, "days_computed": days, "rows_changed": update.rows_changed}
        return dg.MaterializeResult(metadata=metadata)

    return stored_days
