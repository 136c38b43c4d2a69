"""mart/mv_*: one asset, one step and one refresh per materialized view.

A step tells what the refresh itself knows. What has to be read for people who look is the overview's business.
"""

from collections.abc import Iterator

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.assets.failures import RETRIES, report_failure
from mv_pipeline.refresh.views import read_view_status, refresh_view


class RefreshConfig(dg.Config):
    """How to refresh.

    Args:
        always: refresh even if nothing upstream has changed since the last time; so does a run with the tag.
    """

    always: bool = False


def build_materialized_view_asset(relation: Relation) -> dg.AssetsDefinition:
    """Make the asset of one materialized view.

    A critical view that can't be refreshed fails its run. An optional one doesn't: it is reported, and what reads it
    is skipped.
    """

    @dg.asset(
        **describe.view(relation, "materialized_views"),
        deps=describe.asset_keys(relation.dependencies),
        tags={"criticality": str(relation.header.criticality)},
        code_version=relation.definition_hash[:12],
        retry_policy=RETRIES,
        op_tags=describe.FIRST,
        output_required=relation.header.criticality == "critical",
    )
    def materialized_view(
        context: dg.AssetExecutionContext, config: RefreshConfig, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        try:
            with database.connect(f"refresh {relation.name}") as connection:
                always = config.always or describe.ALWAYS in context.run.tags
                metadata = _refresh_if_due(context, connection, relation, always=always)
        except psycopg.Error as error:
            reason = report_failure(context, database, relation, error)
            message = f"{relation.name} could not be refreshed and shows older rows: {reason}"
            if relation.header.criticality == "critical":
                raise dg.Failure(message, allow_retries=False) from error
            context.log.error(f"{message} It is optional: what reads it is skipped, everything else goes on.")
        else:
            yield dg.MaterializeResult(metadata=metadata)

    return materialized_view


def _refresh_if_due(
    context: dg.AssetExecutionContext, connection: Connection, relation: Relation, *, always: bool
) -> dict[str, str | int | float | dg.TableSchema]:
    """Refresh a view that has news, and return what its materialization says."""
    (status,) = read_view_status(connection, [relation])
    if status.refreshed_at and not status.stale and not always:
        context.log.info(f"Nothing upstream has changed since {status.refreshed_at:%Y-%m-%d %H:%M:%S} (Asia/Tokyo).")
        return {"refreshed": False, "last_refresh": status.refreshed_at.isoformat()}
    refresh = refresh_view(connection, relation, context.run.run_id)
    return {
        "refreshed": True,
        "mode": refresh.mode,
        "seconds": refresh.seconds,
        "dagster/row_count": refresh.rows,
        "rows_inserted": refresh.inserted,
        "rows_deleted": refresh.deleted,
        "rows_changed": max(refresh.inserted, refresh.deleted),
        "bytes": refresh.size_bytes,
        "business_date": str(scalar(connection, "SELECT ref.business_date()")),
        "dagster/column_schema": describe.column_schema(connection, relation.name),
    }
