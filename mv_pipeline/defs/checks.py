"""Asset checks: a step for each asset's quick checks and one for each proof, made by one factory."""

from collections.abc import Iterable, Iterator

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.check import Check, CheckResult
from mv_pipeline.checks.rules import DEFINITION, PROOF, all_checks
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets.describe import LAST, PROOF_OF_VIEW, RETENTION, RETENTION_CHECK, asset_key
from mv_pipeline.defs.assets.failures import RETRIES, failing_at_once

Checks = dict[dg.AssetCheckKey, Check]


def build_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Make the steps of all checks; a check that failed stops nothing else."""
    steps: dict[str, Checks] = {}
    for key, check in _by_key(catalog).items():
        steps.setdefault(_step(key, check), {})[key] = check
    views = {f"{asset_key(view.name).to_python_identifier()}_{PROOF}" for view in catalog.materialized_views}
    return [_build_step(step, checks, PROOF_OF_VIEW if step in views else LAST) for step, checks in steps.items()]


def _by_key(catalog: Catalog) -> Checks:
    found = all_checks(catalog).items()
    return {dg.AssetCheckKey(asset_key(name), check.name): check for name, checks in found for check in checks}


def _step(key: dg.AssetCheckKey, check: Check) -> str:
    if check.name == DEFINITION:
        return "definitions"
    return f"{key.asset_key.to_python_identifier()}_{check.name if check.nightly else '_checks'}"


def _build_step(step: str, checks: Checks, op_tags: dict[str, str]) -> dg.AssetChecksDefinition:
    names = {".".join(key.asset_key.path) for key in checks}
    connection_name = f"check {names.pop() if len(names) == 1 else step}"

    @dg.multi_asset_check(
        name=step,
        specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description=check.description)
            for key, check in checks.items()
        ],
        can_subset=True,
        retry_policy=RETRIES,
        op_tags=op_tags,
    )
    def run_checks(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        with failing_at_once(f"{step} could not be run"), database.connect(connection_name) as connection:
            for key, check in checks.items():
                if key in context.selected_asset_check_keys:
                    yield asset_check_result(key.asset_key, check, check.evaluate(connection))

    return run_checks


def asset_check_result(key: dg.AssetKey, check: Check, result: CheckResult) -> dg.AssetCheckResult:
    """A result as Dagster shows it; the remedy of one that failed is in the description and in the metadata."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity(check.severity),
        description=result.text,
        metadata={**result.metadata, **({"remedy": result.remedy} if result.remedy else {})},
    )


def quick_check_keys(catalog: Catalog, keys: Iterable[dg.AssetKey]) -> list[dg.AssetCheckKey]:
    """The keys of the given assets' checks that are not nightly, for runs that must not wait for a full recompute."""
    wanted = set(keys)
    return [key for key, check in _by_key(catalog).items() if key.asset_key in wanted and not check.nightly]


def check_keys(catalog: Catalog) -> list[dg.AssetCheckKey]:
    """The keys of all checks, also the nightly ones."""
    return [*_by_key(catalog), dg.AssetCheckKey(asset_key(RETENTION), RETENTION_CHECK)]
