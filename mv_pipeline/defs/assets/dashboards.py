"""Dashboards and models: external assets, so that the lineage ends where people read."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.assets.describe import GROUP_DASHBOARDS, asset_keys, describe_asset


def build_dashboard_assets(catalog: Catalog) -> list[dg.AssetSpec]:
    """Make the asset of each dashboard."""
    return [
        dg.AssetSpec(
            **describe_asset(
                dg.AssetKey(["dashboards", name]),
                GROUP_DASHBOARDS,
                {"dashboard"},
                f"{dashboard.title}：{dashboard.description}",
                dashboard.description_en,
                dashboard.owner,
            ),
            deps=asset_keys(dashboard.reads),
        )
        for name, dashboard in catalog.dashboards.items()
    ]
