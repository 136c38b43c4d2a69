"""What a changed file would change, before it does."""

import pytest

from mv_pipeline.migrate.diff import DiffError, RowChange, diff
from mv_pipeline_tests.migrate.test_state import edited


def test_what_is_as_its_file_says_has_no_difference(database, catalog):
    found = diff(database, catalog, "mart.mv_receive_daily")

    assert (found.definition, found.columns, found.rows) == ([], {}, 0)


def test_rows_are_matched_by_key_and_show_what_changes(database, connection, catalog):
    old = catalog.relations["mart.mv_receive_daily"].query
    query = old.replace("    c.is_holiday,", "    c.ddate = '2024-05-05' AS is_holiday,")

    found = diff(database, edited(catalog, "mart.mv_receive_daily", query), "mart.mv_receive_daily", at_most=2)

    # 2024-05-05 is a holiday already; every other holiday of the calendar up to yesterday becomes none.
    expected = connection.execute(
        "SELECT hdate::text FROM ref.holiday_jp WHERE hdate < '2025-12-11' AND hdate <> '2024-05-05' ORDER BY hdate"
    ).fetchall()
    assert (found.columns, found.rows) == ({}, len(expected))
    assert [(row.before["ddate"], row.columns()) for row in found.sample] == [
        (expected[0][0], ["is_holiday"]),
        (expected[1][0], ["is_holiday"]),
    ]
    assert any(line.startswith("+") and "2024-05-05" in line for line in found.definition)


def test_columns_that_come_go_or_change_their_type_are_named(database, catalog):
    changed = edited(catalog, "ref.v_sales_rep", "SELECT rep_id::bigint AS rep_id FROM mart.v_sales_tree_detail_base")

    found = diff(database, changed, "ref.v_sales_rep")

    assert found.columns == {"rep_id": ("integer", "bigint"), "rep_name": ("text", None)}


def test_rows_are_matched_by_a_key_that_changes_its_type(database, catalog):
    query = catalog.relations["mart.mv_yard_daily"].query.replace("    c.ddate,", "    c.ddate::text AS ddate,")

    found = diff(database, edited(catalog, "mart.mv_yard_daily", query), "mart.mv_yard_daily")

    assert (found.columns, found.rows) == ({"ddate": ("date", "text")}, 0)


def test_rows_of_a_view_without_a_key_come_and_go_whole(database, connection, catalog):
    changed = edited(catalog, "ref.v_closure_days", "SELECT NULL::date AS ddate, NULL::text AS closure_name")
    connection.execute("INSERT INTO ref.closure_periods VALUES ('2025-11-04', '2025-11-04', '休業')")

    assert diff(database, changed, "ref.v_closure_days").sample == [
        RowChange(None, {"ddate": None, "closure_name": None}),
        RowChange({"ddate": "2025-11-04", "closure_name": "休業"}, None),
    ]


def test_a_change_further_up_is_seen_in_what_reads_it(database, connection, catalog):
    changed = edited(catalog, "ref.v_closure_days", "SELECT NULL::date AS ddate, NULL::text AS closure_name")
    connection.execute("INSERT INTO ref.closure_periods VALUES ('2025-11-04', '2025-11-04', '休業')")

    found = diff(database, changed, "ref.v_calendar_classified")

    # The same file reads a view that has changed: a Tuesday that is no holiday isn't closed any more.
    before, after = {row.before["day_type"] for row in found.sample if row.before}, [row.after for row in found.sample]
    assert (found.definition, found.columns, found.rows, before) == ([], {}, 2, {"CLOSED"})
    assert [(row["ddate"], row["day_type"], row["is_business"]) for row in after if row] == [
        ("2025-11-04", "NORMAL", True)
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mart.mv_unheard_of", "No SQL file describes mart.mv_unheard_of"),
        ("ref.v_customer", 'ref.v_customer, line 7: column "customer_ix" does not exist'),
    ],
)
def test_what_cannot_be_compared_says_why(database, catalog, name, message):
    wrong = edited(catalog, "ref.v_customer", "SELECT\n    customer_ix FROM mart.v_sales_tree_detail_base")

    with pytest.raises(DiffError, match=message):
        diff(database, wrong, name)
