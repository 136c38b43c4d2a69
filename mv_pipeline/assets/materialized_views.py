"""mart/mv_*: one asset, one step and one refresh per materialized view."""

from datetime import timedelta

import dagster as dg

from mv_pipeline.assets.describe import (
    GROUP_MATERIALIZED,
    asset_key,
    asset_keys,
    bilingual,
    column_schema,
    table_metadata,
)
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database import Database, scalar
from mv_pipeline.refresh import last_refresh, refresh_view

# The nightly run is due at 00:10; by 01:00 every view has to have been looked at.
FRESH_BY = dg.FreshnessPolicy.cron(
    deadline_cron="0 1 * * *", lower_bound_delta=timedelta(hours=1), timezone="Asia/Tokyo"
)


class RefreshConfig(dg.Config):
    """How to refresh.

    Args:
        always: refresh even if nothing upstream has changed since the last time.
    """

    always: bool = False


def build_materialized_view_asset(*, catalog: Catalog, relation: Relation) -> dg.AssetsDefinition:
    """Make the asset of one materialized view."""

    @dg.asset(
        key=asset_key(relation.name),
        deps=asset_keys(relation.dependencies),
        group_name=GROUP_MATERIALIZED,
        owners=[relation.header.owner],
        kinds={"postgres", "materializedview"},
        tags={"criticality": str(relation.header.criticality)},
        description=bilingual(relation.header.description, relation.header.description_en),
        metadata=table_metadata(relation.name),
        code_version=relation.definition_hash[:12],
        freshness_policy=FRESH_BY,
        retry_policy=dg.RetryPolicy(
            max_retries=2, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
        ),
    )
    def materialized_view(
        context: dg.AssetExecutionContext, config: RefreshConfig, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        with database.connect() as connection:
            last = last_refresh(connection, catalog, relation)
            if last and last.fresh and not config.always:
                context.log.info(f"Nothing upstream has changed since {last.at:%Y-%m-%d %H:%M:%S} (Asia/Tokyo).")
                return dg.MaterializeResult(metadata={"refreshed": False, "last_refresh": last.at.isoformat()})
            refresh = refresh_view(connection, relation, context.run.run_id)
            metadata: dict[str, str | int | float | dg.TableSchema] = {
                "refreshed": True,
                "mode": refresh.mode,
                "seconds": refresh.seconds,
                "dagster/row_count": refresh.rows,
                "rows_inserted": refresh.inserted,
                "rows_deleted": refresh.deleted,
                "rows_changed": max(refresh.inserted, refresh.deleted),
                "bytes": refresh.size_bytes,
                "business_date": str(scalar(connection, "SELECT ref.business_date()")),
                "dagster/column_schema": column_schema(connection, relation.name),
            }
            return dg.MaterializeResult(metadata=metadata)

    return materialized_view


def build_materialized_view_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Make the assets of all materialized views."""
    return [
        build_materialized_view_asset(catalog=catalog, relation=relation) for relation in catalog.materialized_views
    ]
