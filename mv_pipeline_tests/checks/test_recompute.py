"""The proof finds what no note told of, names the days, and repairs them."""

from datetime import date

import pytest

from mv_pipeline.checks.recompute import Difference, compare_rollup, compare_view, prove_rollup, prove_view
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline_tests.migrate.test_state import edited

RECEIVE = "mart.mv_receive_daily"
D1, D2 = date(2025, 12, 1), date(2025, 12, 2)
NONE = Difference(0, [])


@pytest.fixture
def plant(connection, catalog):
    connection.execute(
        "INSERT INTO stg.shogun_final_receive (slip_date, receive_no, net_weight, amount) "
        "VALUES ('2025-12-01', 1, 1000, 10), ('2025-12-02', 2, 2000, 20)"
    )
    update_rollup(connection, "receive")
    for view in catalog.materialized_views:
        refresh_view(connection, view)
    return connection


def unnoticed(connection, statement):
    """Change staging lines with the triggers switched off, as a restore from a dump would."""
    connection.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    connection.execute(statement)
    connection.execute("ALTER TABLE stg.shogun_final_receive ENABLE TRIGGER USER")


def test_nothing_differs_when_all_is_well(plant, catalog):
    assert compare_rollup(plant, "receive") == NONE
    assert {view.name: compare_view(plant, view) for view in catalog.materialized_views} == {
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
def test_an_unnoticed_change_is_found_by_its_days_and_repaired(plant, statement, rows, days):
    unnoticed(plant, statement)

    assert prove_rollup(plant, "receive") == Difference(rows, days)
    assert prove_rollup(plant, "receive") == NONE


def test_a_repair_is_news_to_the_views(plant, catalog):
    unnoticed(plant, "UPDATE stg.shogun_final_receive SET net_weight = 5000 WHERE receive_no = 1")
    prove_rollup(plant, "receive")

    assert prove_view(plant, catalog, catalog.relations[RECEIVE]) == NONE
    found = plant.execute("SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'").fetchone()
    assert found == (5,)


def test_a_view_that_was_changed_behind_our_back_is_found_and_repaired(plant, catalog):
    view = catalog.relations[RECEIVE]
    plant.execute("ALTER TABLE mart.rollup_daily_receive DISABLE TRIGGER USER")
    plant.execute("UPDATE mart.rollup_daily_receive SET net_weight_kg = 9000 WHERE ddate = '2025-12-02'")
    plant.execute("ALTER TABLE mart.rollup_daily_receive ENABLE TRIGGER USER")

    assert prove_view(plant, catalog, view) == Difference(2, [D2])
    assert compare_view(plant, view) == NONE


def test_waiting_notes_are_no_difference(plant, catalog):
    plant.execute("DELETE FROM stg.shogun_final_receive WHERE receive_no = 1")

    assert prove_rollup(plant, "receive") == NONE
    assert prove_view(plant, catalog, catalog.relations[RECEIVE]) == NONE


def test_a_file_that_ends_in_a_comment_is_proved_too(database, connection, catalog):
    view = catalog.relations[RECEIVE]
    commented = edited(catalog, RECEIVE, f"{view.query} AND true  -- up to yesterday")

    assert migrate(database, commented).changed[RECEIVE] == "swap"
    assert compare_view(connection, commented.relations[RECEIVE]).rows == 0
