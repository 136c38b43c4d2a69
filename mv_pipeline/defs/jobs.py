"""The jobs that the UI offers. Their order of steps is the graph's; there is no list of views here."""

from collections.abc import Sequence

import dagster as dg

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import TABLES
from mv_pipeline.defs.assets.describe import ALWAYS, RETENTION, asset_key
from mv_pipeline.defs.assets.intake import intake_keys
from mv_pipeline.defs.checks import quick_check_keys
from mv_pipeline.settings import load_settings

INGEST = "ingest"
REFRESH_ALL = "refresh_all"
REFRESH_CHANGED = "refresh_changed"
NIGHTLY = "nightly"
OVERVIEW = "overview"
_INSTALLATION = "mv_pipeline/installation"


def own_tags() -> dict[str, str]:
    """What tells the runs of this installation's jobs from those of others that share Dagster's storage."""
    return {_INSTALLATION: load_settings().installation}


def downstream_keys(catalog: Catalog, tables: set[str]) -> list[dg.AssetKey]:
    """The rollups and views that read any of the tables, directly or through others."""
    return [asset_key(name) for name in catalog.relations if catalog.upstream(name) & tables]


def ingest_keys(catalog: Catalog, kinds: Sequence[FileKind]) -> list[dg.AssetKey]:
    """The raw and stg assets of kinds, and what lies downstream of them."""
    intake = [key for kind in kinds for key in intake_keys(kind)]
    return [*intake, *downstream_keys(catalog, {f"stg.{kind.name}" for kind in kinds})]


def retry_delay_s(runs: int, first_s: int, longest_s: int) -> int:
    """How long (s) to wait before another run for the same thing, after so many runs.

    Twice as long each time: what fails by its data fails again until somebody has changed something.
    """
    return min(first_s << (runs - 1), longest_s)


def build_jobs(catalog: Catalog) -> dg.Definitions:
    """Make the jobs: ingest, refresh_all, refresh_changed, nightly, overview."""
    intake = [key for kind in KINDS for key in intake_keys(kind)]
    derived = [asset_key(name) for name in catalog.relations]
    maintained = [asset_key(table.name) for table in TABLES if table.maintained_by == "pipeline"]
    own = own_tags()
    jobs = [
        dg.define_asset_job(
            INGEST,
            selection=_with_quick_checks(catalog, ingest_keys(catalog, KINDS)),
            description="Takes the files at rest in the inbox and refreshes what lies downstream.",
            tags=own,
        ),
        dg.define_asset_job(
            REFRESH_ALL,
            selection=_with_quick_checks(catalog, derived),
            tags={**own, ALWAYS: "true"},
            description="Rolls up what changed and refreshes every materialized view.",
        ),
        dg.define_asset_job(
            REFRESH_CHANGED,
            selection=_with_quick_checks(catalog, derived),
            description="Rolls up what changed and refreshes the materialized views that have news.",
            tags=own,
        ),
        dg.define_asset_job(
            NIGHTLY,
            selection=dg.AssetSelection.assets(*{*maintained, *derived, asset_key(RETENTION)})
            | dg.AssetSelection.checks_for_assets(*intake),
            tags={**own, ALWAYS: "true"},
            description="After midnight in Tokyo: extends the calendar, refreshes, checks and proves everything; "
            "at last deletes what is too old.",
        ),
        dg.define_asset_job(
            OVERVIEW,
            selection=dg.AssetSelection.groups("overview"),
            description="Renews what people look at; no upload waits for it.",
            tags=own,
        ),
    ]
    # A list of them would need the name of a private type.
    return dg.Definitions(jobs=jobs)


def _with_quick_checks(catalog: Catalog, keys: list[dg.AssetKey]) -> dg.AssetSelection:
    """Assets and their checks but the proofs: a proof reads everything, and no upload has to wait for that."""
    assets = dg.AssetSelection.assets(*keys)
    return assets.without_checks() | dg.AssetSelection.checks(*quick_check_keys(catalog, keys))
