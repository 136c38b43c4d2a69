"""A rollup that can't be stored is reported and stops nothing: the views on it are refreshed in the same run."""

import shutil
from collections import Counter

import dagster as dg
import pytest

from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.checks.recompute import compare_rollup, prove_rollup
from mv_pipeline.checks.rules import STORABLE, find_check
from mv_pipeline.cli.runs import require_success
from mv_pipeline.cli.session import CommandError
from mv_pipeline.definitions import defs
from mv_pipeline.defs.sensors import changed_request, ingest_request
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.factory import csv_text, drop, line

KIND = "shogun_final_receive"
ITEMS, TOTALS, UPPER = "mart.rollup_items", "mart.mv_item_totals", "mart.rollup_items_monthly"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HEADER = "/*\ndescription: 試験用。\ndescription_en: For tests.\nowner: team:x\n"
FILES = {
    # Right as long as no item is NULL, which no text says.
    ITEMS: f"{HEADER}key: [ddate, item]\nday: ddate\n*/\n"
    "SELECT slip_date AS ddate, aggregate_item_cd AS item, sum(net_weight) AS kg "
    "FROM stg.v_active_shogun_final_receive GROUP BY slip_date, aggregate_item_cd\n",
    UPPER: f"{HEADER}key: [month]\nday: month\n*/\n"
    "SELECT date_trunc('month', ddate)::date AS month, sum(kg) AS kg FROM mart.rollup_items "
    "GROUP BY date_trunc('month', ddate)::date\n",
    TOTALS: f"{HEADER}key: [month]\ncriticality: critical\n*/\n"
    "SELECT i.month, i.kg, m.kg AS kg_of_month FROM (SELECT date_trunc('month', ddate)::date AS month, sum(kg) AS kg "
    "FROM mart.rollup_items GROUP BY date_trunc('month', ddate)::date) AS i "
    "INNER JOIN mart.rollup_items_monthly AS m USING (month)\n",
}


@pytest.fixture
def extended(settings, database, tmp_path, monkeypatch):
    """The catalog with the files, migrated."""
    folder = shutil.copytree(PROJECT_ROOT / "sql", tmp_path / "sql")
    for name, text in FILES.items():
        (folder / f"{name.replace('.', '/')}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))
    catalog = load_catalog(folder)
    migrate(database, catalog)
    return catalog


@pytest.fixture
def run(extended, instance):
    """Run a sensor's request as the daemon would."""
    definitions = defs()

    def run_job(name, request):
        job = definitions.resolve_job_def(name).get_subset(
            asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
        )
        return job.execute_in_process(
            instance=instance, run_config={**request.run_config, **QUIET}, raise_on_error=False
        )

    return run_job


@pytest.fixture
def ingest(run, extended, settings):
    def run_ingest(name, **cells):
        drop(settings.inbox_dir, KIND, name, csv_text([line(KIND, slip_date="2025/12/01", **cells)]))
        return run("ingest", ingest_request(extended, [(KIND, name)], "test"))

    return run_ingest


@pytest.fixture
def refresh(run, extended):
    return lambda: run("refresh_changed", changed_request(extended, [ITEMS]))


def totals(connection):
    return connection.execute(f"SELECT month::text, kg, kg_of_month FROM {TOTALS}").fetchall()


def failed_checks(result):
    return {
        (".".join(check.asset_key.path), check.check_name): (check.severity.value, check.description)
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    }


def test_a_key_that_is_null_is_told_and_the_views_are_right_and_fresh(ingest, refresh, connection, extended):
    assert failed_checks(ingest("a.csv", aggregate_item_cd="7", net_weight="1000")) == {}
    assert totals(connection) == [("2025-12-01", 1000, 1000)]

    result = ingest("b.csv", aggregate_item_cd="", net_weight="3000")

    assert result.success
    assert totals(connection) == [("2025-12-01", 3000, 3000)]
    assert [event.step_key for event in result.all_events if event.is_step_skipped] == []
    (((name, check), (_, text)),) = failed_checks(result).items()
    assert (name, check) == (ITEMS, STORABLE)
    assert text.startswith("1 failures found since changes were last stored, 0 expected: ")
    assert f"{ITEMS}: the key (ddate, item) doesn't identify its rows: null value in column" in text
    assert connection.execute("SELECT relation, run_id FROM log.refresh_failure").fetchall() == [(ITEMS, result.run_id)]
    # Retrying couldn't help.
    kinds = Counter(event.event_type for event in result.all_events)
    assert kinds[dg.DagsterEventType.STEP_UP_FOR_RETRY] == 0
    with pytest.raises(CommandError, match=f"could not store {ITEMS}"):
        require_success(result)
    # What reads it is stored, from rows that are computed live.
    assert connection.execute(f"SELECT kg FROM {extended.relations[UPPER].stored}").fetchall() == [(3000,)]

    connection.execute("UPDATE stg.shogun_final_receive SET aggregate_item_cd = 8 WHERE NOT is_deleted")
    mended = refresh()

    assert (mended.success, failed_checks(mended)) == (True, {})
    assert totals(connection) == [("2025-12-01", 3000, 3000)]
    assert connection.execute(f"SELECT item, kg FROM {extended.relations[ITEMS].stored}").fetchall() == [(8, 3000)]


def test_its_proof_compares_what_readers_see(ingest, connection, extended):
    ingest("a.csv", aggregate_item_cd="", net_weight="3000")

    proof = prove_rollup(connection, extended.relations[ITEMS])

    assert (proof.before.rows, proof.after.rows) == (0, 0)
    assert proof.result().passed


@pytest.mark.usefixtures("retry_at_once")
def test_whatever_keeps_it_from_being_stored(ingest, connection, database, extended, monkeypatch):
    """A fault of its table, and a lock that is held longer than all tries."""
    items = extended.relations[ITEMS]
    connection.execute(f"ALTER TABLE {items.stored} ADD CONSTRAINT broken CHECK (false) NOT VALID")

    result = ingest("a.csv", aggregate_item_cd="7", net_weight="1000")

    assert result.success
    assert totals(connection) == [("2025-12-01", 1000, 1000)]
    assert 'violates check constraint "broken"' in failed_checks(result)[ITEMS, STORABLE][1]
    connection.execute(f"ALTER TABLE {items.stored} DROP CONSTRAINT broken")

    monkeypatch.setenv("MV_PIPELINE_LOCK_TIMEOUT_SECONDS", "0.1")
    with database.transaction() as other:
        other.execute("SELECT FROM log.rollup WHERE stored = %s FOR UPDATE", [items.stored])
        held = ingest("b.csv", aggregate_item_cd="7", net_weight="2000")

        assert held.success
        assert totals(connection) == [("2025-12-01", 2000, 2000)]
        assert "lock timeout" in failed_checks(held)[ITEMS, STORABLE][1]
    assert compare_rollup(connection, items).rows == 0


def test_a_failure_ends_when_nothing_waits_any_more(ingest, connection, extended):
    ingest("a.csv", aggregate_item_cd="", net_weight="1000")
    check = find_check(extended, ITEMS, STORABLE)
    assert not check.evaluate(connection).passed

    # Another definition has a table of its own, filled without a failure.
    connection.execute("UPDATE log.rollup SET seen = log.seen() WHERE relation = %s", [ITEMS])

    assert check.evaluate(connection).passed
