"""Reference data that the pipeline keeps up by itself: the calendar, the holidays and the closed days."""

from collections.abc import Callable

import dagster as dg
from psycopg import sql

from mv_pipeline.catalog.tables import CALENDAR, CLOSURE_DAYS, CLOSURES, HOLIDAYS, Table
from mv_pipeline.database.connection import Connection, Database, identifier, scalar
from mv_pipeline.defs.assets.describe import (
    GROUP_REFERENCE,
    OWNER,
    asset_key,
    asset_keys,
    bilingual,
    column_schema,
    table_metadata,
)
from mv_pipeline.refresh import reference


def build_reference_asset(
    *, table: Table, keep_up: Callable[[Connection], int], after: tuple[Table, ...] = ()
) -> dg.AssetsDefinition:
    """Make the asset of one reference table.

    Args:
        table: the table.
        keep_up: brings it up to date and returns the number of rows changed.
        after: the tables that it depends on.
    """

    @dg.asset(
        key=asset_key(table.name),
        deps=asset_keys([other.name for other in after]),
        group_name=GROUP_REFERENCE,
        owners=[OWNER],
        kinds={"postgres", "table"},
        description=bilingual(table.description, table.description_en),
        metadata=table_metadata(table.name),
    )
    def reference_table(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
        with database.transaction(f"keep up {table.name}") as connection:
            changed = keep_up(connection)
            rows = scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(table.name)))
            return dg.MaterializeResult(
                metadata={
                    "dagster/row_count": rows,
                    "rows_changed": changed,
                    "dagster/column_schema": column_schema(connection, table.name),
                }
            )

    return reference_table


reference_assets = [
    build_reference_asset(table=CALENDAR, keep_up=reference.extend_calendar),
    build_reference_asset(table=HOLIDAYS, keep_up=reference.sync_holidays, after=(CALENDAR,)),
    build_reference_asset(table=CLOSURE_DAYS, keep_up=reference.expand_closures, after=(CALENDAR, CLOSURES)),
]
