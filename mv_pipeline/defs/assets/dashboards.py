"""Dashboards and models: external assets, so that the lineage ends where people read."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.assets.describe import GROUP_DASHBOARDS, asset_keys, bilingual


def build_dashboard_assets(catalog: Catalog) -> list[dg.AssetSpec]:
    """Make the asset of each dashboard."""
    return [
        dg.AssetSpec(
            dg.AssetKey(["dashboards", name]),
            deps=asset_keys(dashboard.reads),
            group_name=GROUP_DASHBOARDS,
            owners=[dashboard.owner],
            kinds={"dashboard"},
            description=bilingual(f"{dashboard.title}：{dashboard.description}", dashboard.description_en),
        )
        for name, dashboard in catalog.dashboards.items()
    ]
