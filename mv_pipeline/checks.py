"""Asset checks: one step per asset that looks through all of its probes, made by one factory.

What is looked at stands in `probes`.
"""

from collections.abc import Iterator

import dagster as dg

from mv_pipeline.assets.describe import asset_key
from mv_pipeline.catalog.kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database import Database
from mv_pipeline.probes import Probe, last_upload_probe, notes_probe, upload_probes, view_probes


def build_check(*, name: str, probes: list[Probe]) -> dg.AssetChecksDefinition:
    """Make one step that runs all probes of a relation on one connection; a failed one stops nothing else."""
    key = asset_key(name)

    @dg.multi_asset_check(
        name=f"{key.to_python_identifier()}__checks",
        specs=[dg.AssetCheckSpec(probe.name, asset=key, description=probe.description) for probe in probes],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {check.name for check in context.selected_asset_check_keys}
        with database.connect() as connection:
            for probe in probes:
                if probe.name in wanted:
                    finding = probe.look(connection)
                    yield dg.AssetCheckResult(
                        asset_key=key,
                        check_name=probe.name,
                        passed=finding.passed,
                        severity=dg.AssetCheckSeverity(probe.severity),
                        description=finding.message,
                        metadata=finding.metadata,
                    )

    return checks


def build_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Make the checks of every CSV kind, rollup and materialized view."""
    return [
        *(build_check(name=f"raw.{kind.name}", probes=[last_upload_probe(kind)]) for kind in KINDS),
        *(build_check(name=f"stg.{kind.name}", probes=upload_probes(kind)) for kind in KINDS),
        *(build_check(name=table.name, probes=[notes_probe(csv_type)]) for csv_type, table in ROLLUPS.items()),
        *(build_check(name=view.name, probes=view_probes(catalog, view)) for view in catalog.materialized_views),
    ]
