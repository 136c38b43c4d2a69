"""A plant with a day's file, and its checks as a run evaluates them."""

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.defs.checks import build_checks
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline_tests.factory import csv_text, drop, line, roll_up

KIND = "shogun_final_receive"


def failed(evaluations):
    return {name for name, evaluation in evaluations.items() if not evaluation.passed}


def age_changes(connection, minutes):
    """Let all refreshes and what has changed since be older."""
    older = f"- interval '{minutes} minutes'"
    connection.execute(f"UPDATE log.view_refresh SET started_at = started_at {older}")
    connection.execute(f"UPDATE log.rollup SET updated_at = updated_at {older}")
    connection.execute(f"UPDATE log.change_note SET noted_at = noted_at {older}")


@pytest.fixture
def loaded(settings, connection, catalog):
    """One day's file, rolled up and refreshed."""
    path = drop(
        settings.inbox_dir, KIND, "a.csv", csv_text([line(net_weight=600), line(net_weight=400), line(net_weight=0)])
    )
    take_file(connection, settings, find_kind(KIND), path, "test")
    roll_up(connection, catalog)
    for view in catalog.materialized_views:
        refresh_view(connection, view)
    return connection


@pytest.fixture
def evaluate(database, catalog, instance):
    """Run the checks of one asset and return them by name."""

    def run(name):
        key = dg.AssetKey(name.split("."))
        (checks,) = [step for step in build_checks(catalog) if step.op.name == f"{key.to_python_identifier()}__checks"]
        result = dg.materialize(
            [checks], selection=dg.AssetSelection.checks(checks), resources={"database": database}, instance=instance
        )
        return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}

    return run
