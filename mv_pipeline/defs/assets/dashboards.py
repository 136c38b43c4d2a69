"""Dashboards and models: external assets, so that the lineage ends where people read."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.assets import describe


def build_dashboard_assets(catalog: Catalog) -> list[dg.AssetSpec]:
    """Make the asset of each dashboard."""
    return [
        dg.AssetSpec(
            **describe.asset(
                dg.AssetKey(["dashboards", name]),
                "dashboards",
                {"dashboard"},
                f"{dashboard.title}：{dashboard.description}",
                dashboard.description_en,
                dashboard.owner,
            ),
            deps=describe.asset_keys(dashboard.reads),
        )
        for name, dashboard in catalog.dashboards.items()
    ]
