"""The graph: one file a layer, one factory an asset kind; what each does is in the core modules."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.assets.dashboards import build_dashboard_assets
from mv_pipeline.defs.assets.inputs import input_assets
from mv_pipeline.defs.assets.intake import intake_assets
from mv_pipeline.defs.assets.materialized_views import build_materialized_view_asset
from mv_pipeline.defs.assets.overview import build_view_pages_asset, upload_calendar
from mv_pipeline.defs.assets.plain_views import build_view_assets
from mv_pipeline.defs.assets.reference import reference_assets
from mv_pipeline.defs.assets.rollup import build_rollup_asset


def build_assets(catalog: Catalog) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Make every asset of the graph."""
    return [
        *input_assets,
        *reference_assets,
        *intake_assets,
        *(build_rollup_asset(rollup) for rollup in catalog.rollups),
        *(build_materialized_view_asset(view) for view in catalog.materialized_views),
        *build_view_assets(catalog),
        *build_dashboard_assets(catalog),
        upload_calendar,
        build_view_pages_asset(catalog),
    ]
