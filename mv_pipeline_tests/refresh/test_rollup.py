"""The rollup recomputes the days in the change log, and only those, whoever changed the rows."""

from datetime import date
from decimal import Decimal

import pytest

from mv_pipeline.refresh.rollup import update_rollup

D1, D2, D3 = date(2025, 12, 1), date(2025, 12, 2), date(2025, 12, 3)


def add(connection, table, *lines, **columns):
    for day, slip, kg, yen in lines:
        number = {"receive": "receive_no", "shipment": "shipment_no", "yard": "slip_no"}[table.split("_")[-1]]
        connection.execute(
            f"INSERT INTO stg.{table} (slip_date, {number}, net_weight, amount) VALUES (%s, %s, %s, %s)",
            [day, slip, kg, yen],
        )


def rollup(connection, csv_type="receive"):
    return connection.execute(
        "SELECT source, ddate, line_count, slip_count, net_weight_kg, amount_yen FROM mart.rollup_daily "
        "WHERE csv_type = %s ORDER BY 1, 2",
        [csv_type],
    ).fetchall()


def tracked(connection, table):
    return {
        row[0] for row in connection.execute("SELECT day FROM log.change_note WHERE relation = %s", [f"stg.{table}"])
    }


@pytest.fixture
def lines(connection):
    add(connection, "shogun_final_receive", (D1, 1, 100, 10), (D1, 1, 200, 20), (D2, 2, "0.5", None))
    add(connection, "shogun_flash_receive", (D1, 7, 50, 5))
    update_rollup(connection, "receive")
    return connection


def test_sums_are_unrounded_and_slips_counted_once(lines):
    assert rollup(lines) == [
        ("shogun_final", D1, 2, 1, Decimal(300), Decimal(30)),
        ("shogun_final", D2, 1, 1, Decimal("0.5"), Decimal(0)),
        ("shogun_flash", D1, 1, 1, Decimal(50), Decimal(5)),
    ]


@pytest.mark.parametrize(
    ("statement", "days"),
    [
        ("INSERT INTO stg.shogun_final_receive (slip_date) VALUES ('2025-12-03'), ('2025-12-03')", {D3}),
        ("UPDATE stg.shogun_final_receive SET net_weight = 1 WHERE slip_date = '2025-12-02'", {D2}),
        ("UPDATE stg.shogun_final_receive SET slip_date = '2025-12-03' WHERE slip_date = '2025-12-02'", {D2, D3}),
        ("UPDATE stg.shogun_final_receive SET is_deleted = true WHERE receive_no = 1", {D1}),
        ("DELETE FROM stg.shogun_final_receive", {D1, D2}),
        ("TRUNCATE stg.shogun_final_receive", {None}),
        ("INSERT INTO stg.shogun_final_receive (net_weight) VALUES (1)", set()),
        ("UPDATE stg.shogun_final_receive SET net_weight = 1 WHERE false", set()),
    ],
)
def test_a_statement_logs_the_days_that_it_changed(lines, statement, days):
    lines.execute(statement)

    assert tracked(lines, "shogun_final_receive") == days


def test_a_day_whose_rows_vanished_vanishes(lines):
    lines.execute("DELETE FROM stg.shogun_final_receive WHERE slip_date = '2025-12-01'")

    update_rollup(lines, "receive")

    assert [row[:2] for row in rollup(lines)] == [("shogun_final", D2), ("shogun_flash", D1)]


def test_truncate_empties_the_sources_days_and_no_others(lines):
    lines.execute("TRUNCATE stg.shogun_final_receive")

    update_rollup(lines, "receive")

    assert [row[:2] for row in rollup(lines)] == [("shogun_flash", D1)]


def test_only_tracked_days_are_recomputed(lines):
    # A trigger that is switched off leaves nothing in the change log: what shows here was not recomputed.
    lines.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 1000 WHERE slip_date = '2025-12-01'")
    lines.execute("ALTER TABLE stg.shogun_final_receive ENABLE TRIGGER USER")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")

    update_rollup(lines, "receive")

    assert [row[4] for row in rollup(lines)] == [300, 7, 50]


def test_changed_at_moves_only_where_values_moved(lines):
    before = dict(
        lines.execute("SELECT ddate, changed_at FROM mart.rollup_daily WHERE source = 'shogun_final'").fetchall()
    )
    lines.execute("UPDATE stg.shogun_final_receive SET item_name = 'x'")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")

    result = update_rollup(lines, "receive")

    after = dict(
        lines.execute("SELECT ddate, changed_at FROM mart.rollup_daily WHERE source = 'shogun_final'").fetchall()
    )
    assert result.rows_changed == 1
    assert (after[D1] == before[D1], after[D2] > before[D2]) == (True, True)


def test_a_change_added_meanwhile_survives(database, lines):
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
    with database.connect() as other, other.transaction():
        update_rollup(other, "receive")
        lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 8 WHERE slip_date = '2025-12-01'")

    assert tracked(lines, "shogun_final_receive") == {D1}
    update_rollup(lines, "receive")
    assert [row[4] for row in rollup(lines)] == [16, 7, 50]


def test_a_rolled_back_change_leaves_the_change_log_empty(database, lines):
    with database.connect() as other, other.transaction(force_rollback=True):
        other.execute("DELETE FROM stg.shogun_final_receive")

    assert tracked(lines, "shogun_final_receive") == set()


def test_lists_are_rolled_up_apart(lines):
    add(lines, "shogun_final_yard", (D1, 1, 10, 1))
    add(lines, "shogun_final_shipment", (D1, 1, 20, 2))

    update_rollup(lines, "yard")

    assert (len(rollup(lines, "yard")), len(rollup(lines, "shipment"))) == (1, 0)
    assert tracked(lines, "shogun_final_shipment") == {D1}


def test_king_counts_with_its_text_dates(connection):
    connection.execute(
        "INSERT INTO stg.receive_king_final (invoice_date, invoice_no, vehicle_type_code, net_weight_detail, amount) "
        "VALUES ('2021-03-01', 1, 1, 10, 1), ('2021/03/01', 1, 1, 20, 2), ('2021/02/30', 2, 1, 40, 4), "
        "('2021-03-01', 3, 2, 80, 8), ('2021-03-01', 4, 1, 0, 16), (NULL, 5, 1, 160, 32)"
    )
    assert tracked(connection, "receive_king_final") == {date(2021, 3, 1)}

    update_rollup(connection, "receive")

    assert rollup(connection) == [("king", date(2021, 3, 1), 2, 1, Decimal(30), Decimal(3))]


def test_nothing_tracked_nothing_done(lines):
    result = update_rollup(lines, "receive")

    assert (result.notes, result.days, result.rows_changed) == (0, {}, 0)
