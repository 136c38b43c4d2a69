"""Nightly retention: the settings decide, one part's failure stops no other, and it says what it did."""

from contextlib import nullcontext
from datetime import datetime, timedelta

import dagster as dg
import pytest
import yaml

from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets.describe import RETENTION, RETENTION_CHECK, asset_key
from mv_pipeline.defs.checks import check_keys
from mv_pipeline.operations import run_health
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.retention import Limits, apply_retention
from mv_pipeline.settings import PROJECT_ROOT, TIME_ZONE, Settings
from mv_pipeline_tests.docs.generated import DOCS
from mv_pipeline_tests.factory import line, take

PARTS = {"archive", "rejected", "log.view_refresh", "log.refresh_failure", "log.incident", "runs"}
NOW = datetime.now(TIME_ZONE)
LATER = NOW + timedelta(days=1000)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def files(connection, settings):
    take(connection, settings, [line("shogun_final_receive")])
    take(connection, settings, "nonsense", name="bad.csv")
    return lambda: sum(path.is_file() for f in (settings.archive_dir, settings.rejected_dir) for path in f.rglob("*"))


def test_nothing_is_deleted_that_is_young(files, settings, database, instance):
    result = apply_retention(settings, database, instance, NOW, Limits())

    assert result.counts == dict.fromkeys(PARTS, 0)
    assert (files(), result.failed, result.left) == (3, {}, [])
    assert result.result.message.endswith("Nothing that is too old is left.")


def test_after_the_settings_days_everything_goes(files, settings, database, instance):
    result = apply_retention(settings, database, instance, LATER, Limits())

    assert (result.counts["archive"], result.counts["rejected"]) == (1, 2)
    assert files() == 0


def test_zero_days_mean_for_ever(files, settings, database, instance):
    forever = settings.model_copy(
        update=dict.fromkeys(("archive_days", "rejected_days", "log_days", "history_days"), 0)
    )

    assert apply_retention(forever, database, instance, LATER, Limits()).counts == {}
    assert files() == 3


def test_a_part_that_fails_is_named_and_the_others_are_done(files, settings, instance):
    nowhere = Database(url="postgresql://postgres@127.0.0.1:1/nothing")

    result = apply_retention(settings, nowhere, instance, LATER, Limits())

    assert result.failed.keys() == {"log"}
    assert files() == 0
    assert "1 parts failed, none expected: log: " in result.result.message


def test_what_a_run_leaves_is_named(files, settings, database, instance):
    result = apply_retention(settings, database, instance, LATER, Limits(files=1))

    assert result.left == ["rejected"]
    assert "Still too old, none expected: rejected." in result.result.message


@pytest.fixture
def nightly(settings, definitions, instance):
    def run():
        job = definitions.resolve_job_def("nightly")
        return job.execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET)

    return run


@pytest.fixture
def incomplete_retention(settings, instance, catalog, definitions):
    def inspect():
        opened, repository = nullcontext(instance), definitions.get_repository_def()
        with Installation(settings, catalog, repository, "a test", NOW, lambda _: opened) as installation:
            return list(run_health.incomplete_retention(installation))

    return inspect


def retention_check(result):
    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == RETENTION_CHECK]
    return check


def test_it_is_the_last_thing_that_the_nightly_run_does(nightly, incomplete_retention, connection):
    assert incomplete_retention() == []
    connection.execute("UPDATE log.view_refresh SET started_at = started_at - interval '500 days'")

    result = nightly()

    steps = [event.step_key for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_START]
    assert (result.success, steps[-1]) == (True, asset_key(RETENTION).to_python_identifier())
    assert incomplete_retention() == []
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == asset_key(RETENTION)]
    assert event.materialization.metadata["log.view_refresh"].value > 0
    assert retention_check(result).passed


def test_the_nightly_run_is_a_success_even_if_it_fails(nightly, incomplete_retention, connection):
    connection.execute("DROP FUNCTION log.forget")

    result = nightly()

    assert result.success
    check = retention_check(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "function log.forget" in check.description
    (problem,) = incomplete_retention()
    assert problem.level == "warning"
    remedy = check.metadata["remedy"].value
    assert (f"{problem.happened} {problem.todo}", problem.todo) == (check.description, remedy)


def test_it_is_done_even_if_a_view_fails(nightly, connection):
    connection.execute("DROP MATERIALIZED VIEW mart.mv_receive_daily CASCADE")

    result = nightly()

    assert not result.success
    assert retention_check(result).passed


def test_its_check_is_among_the_metrics(catalog):
    assert dg.AssetCheckKey(asset_key(RETENTION), RETENTION_CHECK) in check_keys(catalog)


def test_the_page_says_the_defaults_and_the_limits():
    page = " ".join((DOCS / "retention.md").read_text(encoding="utf-8").split())
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name.endswith("_days")}
    said = {"archive_days": "2 years", "rejected_days": "90 days", "log_days": "400 days", "history_days": "90 days"}

    assert defaults == {"archive_days": 730, "rejected_days": 90, "log_days": 400, "history_days": 90}
    for name, words in said.items():
        assert f"`MV_PIPELINE_{name.upper()}` | {words} |" in page
    assert f"at most {Limits().files:,} files of each folder, {Limits().rows:,} rows of each table" in page
    assert f"{Limits().runs:,} runs" in page
    assert Limits().seconds == 10 * 60


def test_dagster_deletes_its_ticks_itself():
    retention = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8"))["retention"]

    days = [retention[kind]["purge_after_days"] for kind in ("sensor", "schedule")]
    assert [max(d.values()) if isinstance(d, dict) else d for d in days] == [30, 90]
