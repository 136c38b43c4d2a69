"""Reference data that the pipeline brings up to date by itself: the calendar, the holidays and the closed days."""

from collections.abc import Callable

import dagster as dg

from mv_pipeline.catalog.tables import CALENDAR, CLOSURE_DAYS, CLOSURES, HOLIDAYS, Table
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.defs.assets import describe
from mv_pipeline.refresh import reference


def build_reference_asset(
    table: Table, update: Callable[[Connection], int], reads: tuple[Table, ...] = ()
) -> dg.AssetsDefinition:
    """Make the asset of one reference table.

    Args:
        update: brings it up to date and returns the number of rows changed.
    """

    @dg.asset(
        **describe.table(table.name, "reference", "table", table.description, table.description_en),
        deps=describe.asset_keys(other.name for other in reads),
    )
    def reference_table(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
        with database.transaction(f"update {table.name}") as connection:
            changed = update(connection)
            return dg.MaterializeResult(metadata={**describe.measure(connection, table.name), "rows_changed": changed})

    return reference_table


reference_assets = [
    build_reference_asset(CALENDAR, reference.extend_calendar),
    build_reference_asset(HOLIDAYS, reference.sync_holidays, (CALENDAR,)),
    build_reference_asset(CLOSURE_DAYS, reference.expand_closures, (CALENDAR, CLOSURES)),
]
