"""`proof`: what the night proves, by hand; the result stands in the UI as the night's does."""

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.recompute import Difference, prove_all
from mv_pipeline.cli.session import errors
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets.describe import asset_key
from mv_pipeline.defs.checks import PROOF


def prove(catalog: Catalog, *, repair: bool) -> dict[str, Difference]:
    """Prove every rollup and materialized view, and record each result at its check.

    Args:
        catalog: the relations.
        repair: put right what differs.

    Returns:
        What differed, by name.
    """
    found = {}
    with dg.DagsterInstance.get() as instance, errors.status("Proving …") as status:
        for name, difference in prove_all(Database(), catalog, repair=repair):
            found[name] = difference
            status.update(f"Proving: {name} done …")
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=asset_key(name),
                    check_name=PROOF,
                    passed=not difference.rows,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description=difference.sentence(repaired=repair),
                    metadata={"rows": difference.rows, "days": len(difference.days)},
                )
            )
    return found
