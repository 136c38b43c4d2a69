"""The proof finds untracked changes, names the days, and repairs them."""

from datetime import date

import pytest

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.checks.recompute import Difference, Proof, compare_rollup, compare_view, prove_rollup, prove_view
from mv_pipeline.checks.rules import definition_check
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline_tests.factory import roll_up
from mv_pipeline_tests.migrate.test_state import edited

RECEIVE, FINAL = "mart.mv_receive_daily", "mart.rollup_shogun_final_receive"
D1, D2 = date(2025, 12, 1), date(2025, 12, 2)
NONE = Difference(0, [])
NOTHING = Proof(NONE, NONE)


@pytest.fixture
def filled(connection, catalog):
    connection.execute(
        "INSERT INTO stg.shogun_final_receive (slip_date, receive_no, net_weight, amount) "
        "VALUES ('2025-12-01', 1, 1000, 10), ('2025-12-02', 2, 2000, 20)"
    )
    roll_up(connection, catalog)
    for view in catalog.materialized_views:
        refresh_view(connection, view)
    return connection


@pytest.fixture
def rollup(catalog):
    return catalog.relations[FINAL]


def unnoticed(connection, statement):
    """Change staging lines with the triggers switched off, as a restore from a dump would."""
    connection.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    connection.execute(statement)
    connection.execute("ALTER TABLE stg.shogun_final_receive ENABLE TRIGGER USER")


def test_nothing_differs_when_all_is_well(filled, catalog):
    assert {rollup.name: compare_rollup(filled, rollup) for rollup in catalog.rollups} == {
        rollup.name: NONE for rollup in catalog.rollups
    }
    assert {view.name: compare_view(filled, view) for view in catalog.materialized_views} == {
        view.name: NONE for view in catalog.materialized_views
    }


@pytest.mark.parametrize(
    ("statement", "rows", "days"),
    [
        ("UPDATE stg.shogun_final_receive SET net_weight = 5 WHERE receive_no = 1", 2, [D1]),
        ("UPDATE stg.shogun_final_receive SET slip_date = '2025-12-02'", 3, [D1, D2]),
        ("DELETE FROM stg.shogun_final_receive", 2, [D1, D2]),
        ("INSERT INTO stg.shogun_final_receive (slip_date) VALUES ('2025-12-05')", 1, [date(2025, 12, 5)]),
    ],
)
def test_an_unnoticed_change_is_found_by_its_days_and_repaired(filled, rollup, statement, rows, days):
    unnoticed(filled, statement)

    proof = prove_rollup(filled, rollup)

    assert (proof.before, proof.after) == (Difference(rows, days), NONE)
    assert "; 0 differ after the repair. Find what changed rows untracked" in proof.result().text
    assert prove_rollup(filled, rollup) == NOTHING


def test_a_view_is_repaired_after_the_rollup_that_it_reads(filled, catalog, rollup):
    unnoticed(filled, "UPDATE stg.shogun_final_receive SET net_weight = 5000 WHERE receive_no = 1")
    prove_rollup(filled, rollup)

    proof = prove_view(filled, catalog, catalog.relations[RECEIVE])

    assert (proof.before, proof.after) == (Difference(2, [D1]), NONE)
    found = filled.execute("SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'").fetchone()
    assert found == (5,)


def test_a_view_that_was_changed_behind_our_back_is_found_and_repaired(filled, catalog, rollup):
    view = catalog.relations[RECEIVE]
    filled.execute(f"UPDATE {rollup.stored} SET net_weight_kg = 9000 WHERE ddate = '2025-12-02'")

    proof = prove_view(filled, catalog, view)
    assert (proof.before, proof.after) == (Difference(2, [D2]), NONE)
    assert compare_view(filled, view) == NONE


def test_changes_that_wait_are_no_difference(filled, catalog, rollup):
    filled.execute("DELETE FROM stg.shogun_final_receive WHERE receive_no = 1")

    assert prove_rollup(filled, rollup) == NOTHING
    assert prove_view(filled, catalog, catalog.relations[RECEIVE]) == NOTHING


def test_a_file_edited_and_not_migrated_is_no_difference_of_data_but_definition_drift(filled, catalog):
    view = catalog.relations[RECEIVE]
    drifted = edited(catalog, RECEIVE, f"{view.query} AND false  -- nothing at all")

    assert prove_view(filled, drifted, drifted.relations[RECEIVE]) == NOTHING
    result = definition_check(drifted.relations[RECEIVE]).evaluate(filled)
    assert not result.passed
    assert result.remedy == f"Run `mv-pipeline diff {RECEIVE}`, then `mv-pipeline migrate`."


def test_triggers_that_are_disabled_are_named_as_the_cause(filled, rollup):
    filled.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    filled.execute("UPDATE stg.shogun_final_receive SET net_weight = 5 WHERE receive_no = 1")

    result = prove_rollup(filled, rollup).result()

    assert result.message == (
        "2 rows found that differ from a full recompute, 0 expected (2025-12-01); 0 differ after the repair."
    )
    assert "ENABLE TRIGGER USER` on stg.shogun_final_receive, whose triggers are disabled." in result.remedy


def test_rows_changed_by_hand_in_the_rollup_are_repaired(filled, rollup):
    filled.execute(f"UPDATE {rollup.stored} SET net_weight_kg = 9000 WHERE ddate = '2025-12-02'")

    proof = prove_rollup(filled, rollup)

    assert (proof.before, proof.after) == (Difference(2, [D2]), NONE)


def test_a_repair_of_a_rollup_that_does_not_help_is_not_called_one(filled, rollup):
    filled.execute("""
        CREATE FUNCTION pg_temp.spoil() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.net_weight_kg := NEW.net_weight_kg + 1; RETURN NEW; END'
    """)
    filled.execute(
        f"CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON {rollup.stored} FOR EACH ROW EXECUTE FUNCTION pg_temp.spoil()"
    )
    unnoticed(filled, "UPDATE stg.shogun_final_receive SET net_weight = 5 WHERE receive_no = 1")

    result = prove_rollup(filled, rollup).result()

    assert (result.passed, result.metadata["rows"], result.metadata["rows_after"]) == (False, 2, 2)
    assert "; 2 differ after the repair." in result.message
    assert f"look for a trigger or rule that changes what is written to {rollup.stored}" in result.remedy


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_view_whose_rows_differ_each_time_is_told_from_one_that_drifted(filled, catalog, by_hand):
    query = "SELECT DATE '2025-12-01' AS ddate, random() AS receive_net_ton"
    filled.execute(f"DROP MATERIALIZED VIEW {RECEIVE} CASCADE")
    filled.execute(f"CREATE MATERIALIZED VIEW {RECEIVE} AS {query}")
    filled.execute(f"CREATE UNIQUE INDEX ON {RECEIVE} (ddate)")
    file = catalog.relations[RECEIVE]
    header = file.header.model_copy(update={"indexes": ()})
    relation = Relation(RECEIVE, header, file.query if by_hand else query)

    result = prove_view(filled, catalog, relation).result()

    assert (result.passed, result.metadata["rows"], result.metadata["rows_after"]) == (False, 2, 2)
    assert ("mv-pipeline migrate" in result.remedy) is by_hand
    assert ("gives other rows each time" in result.remedy) is not by_hand
