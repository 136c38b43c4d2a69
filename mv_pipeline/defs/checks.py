"""Asset checks: one step per asset that looks through all of its probes, made by one factory.

What is looked at stands in `probes`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

import dagster as dg

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.checks.recompute import Difference, prove_rollup, prove_view
from mv_pipeline.checks.rules import (
    DEFINITION,
    Probe,
    definition_probe,
    last_upload_probe,
    missing_file_probe,
    notes_probe,
    upload_probes,
    view_probes,
)
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.defs.assets.describe import (
    LAST,
    PROOF_OF_VIEW,
    RETENTION,
    RETENTION_CHECK,
    UPLOAD_CALENDAR,
    asset_key,
)
from mv_pipeline.settings import load_settings

PROOF = "full_recompute"


def build_check(*, name: str, probes: list[Probe]) -> dg.AssetChecksDefinition:
    """Make one step that runs all probes of a relation on one connection; a failed one stops nothing else."""
    key = asset_key(name)

    @dg.multi_asset_check(
        name=f"{key.to_python_identifier()}__checks",
        specs=[dg.AssetCheckSpec(probe.name, asset=key, description=probe.description) for probe in probes],
        can_subset=True,
        op_tags=LAST,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {check.name for check in context.selected_asset_check_keys}
        with database.connect(f"check {name}") as connection:
            for probe in probes:
                if probe.name in wanted:
                    yield _result(key, probe, connection)

    return checks


def build_proof(
    *, name: str, prove: Callable[[Database, str], Difference], op_tags: Mapping[str, str]
) -> dg.AssetChecksDefinition:
    """Make the check that compares a rollup or view with a full recompute, and repairs it."""

    @dg.asset_check(
        name=PROOF,
        asset=asset_key(name),
        description="Every row is what a full recompute from the staging lines gives. Repairs what differs.",
        op_tags=op_tags,
    )
    def proof(context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]) -> dg.AssetCheckResult:
        difference = prove(database, context.run.run_id)
        return dg.AssetCheckResult(
            passed=not difference.rows,
            severity=dg.AssetCheckSeverity.ERROR,
            description=difference.sentence(),
            metadata={"rows": difference.rows, "days": len(difference.days)},
        )

    return proof


def build_proofs(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Make the proofs of every rollup and materialized view; they read everything, so only the night runs them."""
    return [
        *(
            build_proof(name=table.name, prove=partial(_prove_rollup, csv_type), op_tags=LAST)
            for csv_type, table in ROLLUPS.items()
        ),
        *(
            build_proof(name=view.name, prove=partial(_prove_view, catalog, view), op_tags=PROOF_OF_VIEW)
            for view in catalog.materialized_views
        ),
    ]


def _prove_rollup(csv_type: str, database: Database, run_id: str) -> Difference:  # noqa: ARG001  # as for views
    with database.transaction(f"prove {csv_type}") as connection:
        return prove_rollup(connection, csv_type)


def _prove_view(catalog: Catalog, view: Relation, database: Database, run_id: str) -> Difference:
    with database.connect(f"prove {view.name}") as connection:
        return prove_view(connection, catalog, view, run_id)


def build_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Make the checks of every CSV kind, rollup and materialized view, and of the upload calendar."""
    return [build_check(name=name, probes=probes) for name, probes in _probes(catalog).items()]


def build_definition_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Make the one step that holds every view in the database against its file; the night runs it."""
    probes = {asset_key(name): definition_probe(relation) for name, relation in catalog.relations.items()}

    @dg.multi_asset_check(
        name="definitions",
        specs=[
            dg.AssetCheckSpec(probe.name, asset=key, description=probe.description) for key, probe in probes.items()
        ],
        can_subset=True,
        op_tags=LAST,
    )
    def definitions(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        with database.connect("check definitions") as connection:
            for check in sorted(context.selected_asset_check_keys):
                yield _result(check.asset_key, probes[check.asset_key], connection)

    return definitions


def _result(key: dg.AssetKey, probe: Probe, connection: Connection) -> dg.AssetCheckResult:
    finding = probe.look(connection)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=probe.name,
        passed=finding.passed,
        severity=dg.AssetCheckSeverity(probe.severity),
        description=finding.message,
        metadata=finding.metadata,
    )


def quick_check_keys(catalog: Catalog, keys: Collection[dg.AssetKey]) -> list[dg.AssetCheckKey]:
    """The keys of all checks of the given assets but the proofs, for runs that must not wait for a full recompute."""
    return [
        dg.AssetCheckKey(asset_key(name), probe.name)
        for name, probes in _probes(catalog).items()
        if asset_key(name) in keys
        for probe in probes
    ]


def check_keys(catalog: Catalog) -> list[dg.AssetCheckKey]:
    """The keys of all checks, also those that only the night runs."""
    quick = [
        dg.AssetCheckKey(asset_key(name), probe.name) for name, probes in _probes(catalog).items() for probe in probes
    ]
    proved = [*(table.name for table in ROLLUPS.values()), *(view.name for view in catalog.materialized_views)]
    proofs = [dg.AssetCheckKey(asset_key(name), PROOF) for name in proved]
    definitions = [dg.AssetCheckKey(asset_key(name), DEFINITION) for name in catalog.relations]
    return [*quick, *proofs, *definitions, dg.AssetCheckKey(asset_key(RETENTION), RETENTION_CHECK)]


def _probes(catalog: Catalog) -> dict[str, list[Probe]]:
    """Every probe by the name of what it looks at."""
    return {
        **{f"raw.{kind.name}": [last_upload_probe(kind)] for kind in KINDS},
        **{f"stg.{kind.name}": upload_probes(kind) for kind in KINDS},
        **{table.name: [notes_probe(csv_type)] for csv_type, table in ROLLUPS.items()},
        **{view.name: view_probes(catalog, view) for view in catalog.materialized_views},
        UPLOAD_CALENDAR: [
            missing_file_probe(csv_list, load_settings().files_due_hour) for csv_list in LISTS if csv_list.daily
        ],
    }
