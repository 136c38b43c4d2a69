"""The jobs that the UI offers. Their order of steps is the graph's; there is no list of views here."""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from mv_pipeline.assets.describe import asset_key
from mv_pipeline.catalog.kinds import KINDS, Kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS, TABLES

INGEST = "ingest"
REFRESH_ALL = "refresh_all"
NIGHTLY = "nightly"


def intake_keys(kind: Kind) -> list[dg.AssetKey]:
    """The keys of a kind's raw and stg assets."""
    return [asset_key(f"raw.{kind.name}"), asset_key(f"stg.{kind.name}")]


def downstream_keys(catalog: Catalog, tables: set[str]) -> list[dg.AssetKey]:
    """The rollups and views that read any of the tables, directly or through others."""
    names = [table.name for table in ROLLUPS.values()] + list(catalog.relations)
    return [asset_key(name) for name in names if catalog.upstream(name) & tables]


def refresh_config(catalog: Catalog, *, always: bool) -> Mapping[str, object]:
    """Run configuration that refreshes every view even without news, or only those with news."""
    return {
        "ops": {
            asset_key(view.name).to_python_identifier(): {"config": {"always": always}}
            for view in catalog.materialized_views
        }
    }


def build_jobs(catalog: Catalog) -> list[UnresolvedAssetJobDefinition]:
    """Make the jobs: ingest, refresh_all, nightly."""
    intake = [key for kind in KINDS for key in intake_keys(kind)]
    derived = [asset_key(name) for name in (*(table.name for table in ROLLUPS.values()), *catalog.relations)]
    kept_up = [
        asset_key(table.name) for table in TABLES if table.keeper == "pipeline" and table not in ROLLUPS.values()
    ]
    return [
        dg.define_asset_job(
            INGEST,
            selection=dg.AssetSelection.assets(*intake, *downstream_keys(catalog, {f"stg.{k.name}" for k in KINDS})),
            description="Takes the files at rest in the inbox and refreshes what lies downstream.",
        ),
        dg.define_asset_job(
            REFRESH_ALL,
            selection=dg.AssetSelection.assets(*derived),
            config=refresh_config(catalog, always=True),
            description="Rolls up what changed and refreshes every materialized view.",
        ),
        dg.define_asset_job(
            NIGHTLY,
            selection=dg.AssetSelection.assets(*kept_up, *derived) | dg.AssetSelection.checks_for_assets(*intake),
            config=refresh_config(catalog, always=True),
            description="After midnight in Tokyo: extends calendar and holidays, refreshes and checks everything.",
        ),
    ]
