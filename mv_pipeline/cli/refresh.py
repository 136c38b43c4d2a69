"""`refresh`: which assets a run has to hold so that the asked-for views are right afterwards."""

from collections.abc import Mapping

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.cli.session import CommandError
from mv_pipeline.defs.assets.describe import asset_key
from mv_pipeline.defs.jobs import downstream_keys, refresh_config


def refresh_selection(
    catalog: Catalog, names: list[str], csv_type: str | None, full: bool
) -> tuple[list[dg.AssetKey] | None, Mapping[str, object]]:
    """Choose assets and configuration.

    Args:
        catalog: the relations.
        names: the views to refresh; empty: all, or those of `csv_type`.
        csv_type: a list whose downstream views are refreshed.
        full: recompute the rollups upstream from the staging lines.

    Returns:
        The assets to materialize (None: all) and the run configuration.

    Raises:
        CommandError: a name is no materialized view.
    """
    views = [view.name for view in catalog.materialized_views]
    unknown = [name for name in names if name not in views]
    if unknown:
        raise CommandError(f"No materialized view: {', '.join(unknown)}. There are: {', '.join(views)}.")
    if csv_type:
        rollup = ROLLUPS[csv_type].name
        keys = [asset_key(rollup), *downstream_keys(catalog, {rollup})]
        wanted = [name for name in views if asset_key(name) in keys]
    elif names:
        derived = {table.name for table in ROLLUPS.values()} | catalog.relations.keys()
        upstream = set().union(*(catalog.upstream(name) for name in names)) & derived
        keys = [asset_key(name) for name in sorted(upstream | set(names))]
        wanted = names
    else:
        return None, refresh_config(catalog, full=full)
    # What lies upstream is refreshed only if it has news; what was asked for, in any case.
    return keys, refresh_config(catalog, keys, always=wanted, full=full)
