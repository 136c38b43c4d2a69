"""A rollup is right at every moment; only the days that the change log names are computed, whoever wrote them."""

import threading
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from mv_pipeline.checks.recompute import compare_rollup, compare_view
from mv_pipeline.database.connection import Database
from mv_pipeline.refresh.rollup import RollupKeyError, owe_days, update_rollup
from mv_pipeline.refresh.views import prune_change_log, read_view_status, refresh_view
from mv_pipeline_tests.conftest import create_database, drop_database
from mv_pipeline_tests.processes import wait_for

D1, D2, D3 = date(2025, 12, 1), date(2025, 12, 2), date(2025, 12, 3)
FINAL = "mart.rollup_shogun_final_receive"


@pytest.fixture
def database(server, grains_template):
    url = create_database(server, grains_template)
    yield Database(url=url)
    drop_database(server, url)


@pytest.fixture
def connection(database):
    with database.connect() as connection:
        yield connection


def add(connection, *lines, table="shogun_final_receive"):
    number = {"receive": "receive_no", "shipment": "shipment_no", "yard": "slip_no"}[table.split("_")[-1]]
    for day, slip, kg, yen in lines:
        connection.execute(
            f"INSERT INTO stg.{table} (slip_date, {number}, net_weight, amount) VALUES (%s, %s, %s, %s)",
            [day, slip, kg, yen],
        )


def update(connection, catalog, name=FINAL):
    with connection.transaction():
        return update_rollup(connection, catalog.relations[name])


def read(connection, name=FINAL, columns="ddate, line_count, slip_count, net_weight_kg, amount_yen"):
    return connection.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2").fetchall()


def days_stored(connection, catalog, name=FINAL):
    rollup = catalog.relations[name]
    return [row[0] for row in connection.execute(f"SELECT DISTINCT {rollup.day} FROM {rollup.stored} ORDER BY 1")]


def news(connection, catalog, name=FINAL):
    """The days that are computed live; None is every day."""
    return {row[0] for row in connection.execute(f"SELECT day FROM ({catalog.relations[name].news}) AS news")}


def tracked(connection, table="shogun_final_receive"):
    rows = connection.execute("SELECT day FROM log.change_note WHERE relation = %s", [f"stg.{table}"])
    return {row[0] for row in rows}


@pytest.fixture
def lines(connection, grains):
    add(connection, (D1, 1, 100, 10), (D1, 1, 200, 20), (D2, 2, "0.5", None))
    for rollup in grains.rollups:
        update(connection, grains, rollup.name)
    connection.execute("DELETE FROM log.change_note")
    return connection


def test_sums_are_unrounded_and_slips_counted_once(lines):
    assert read(lines) == [(D1, 2, 1, Decimal(300), Decimal(30)), (D2, 1, 1, Decimal("0.5"), Decimal(0))]


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
def test_a_statement_is_logged_with_its_days_and_seen_in_its_own_transaction(lines, grains, statement, days):
    with lines.transaction(force_rollback=True):
        lines.execute(statement)

        assert tracked(lines) == days == news(lines, grains)
        assert [compare_rollup(lines, rollup).rows for rollup in grains.rollups] == [0] * len(grains.rollups)
    with lines.transaction():
        lines.execute(statement)
    assert update(lines, grains).days == (None if None in days else len(days))
    assert news(lines, grains) == set()
    assert compare_rollup(lines, grains.relations[FINAL]).rows == 0


def test_a_refresh_by_somebody_else_finds_what_its_own_transaction_has_changed(connection, grains):
    add(connection, (D1, 1, 1000, 10), (D1, 2, 5000, 20))
    tons = "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'"
    connection.execute("REFRESH MATERIALIZED VIEW mart.mv_receive_daily")
    assert connection.execute(tons).fetchone() == (6,)
    with connection.transaction():
        connection.execute("UPDATE stg.shogun_final_receive SET is_deleted = true WHERE receive_no = 2")
        connection.execute("REFRESH MATERIALIZED VIEW mart.mv_receive_daily")
        assert connection.execute(tons).fetchone() == (1,)


def test_a_view_over_one_that_somebody_else_has_refreshed_is_stale_until_it_is_refreshed(lines, grains):
    monthly, yearly = (grains.relations[f"mart.mv_item_{name}"] for name in ("monthly", "yearly"))
    for view in (monthly, yearly):
        refresh_view(lines, view)
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7")
    # The upper one has seen the change, but read the lower one as it was before.
    refresh_view(lines, yearly)
    lines.execute(f"REFRESH MATERIALIZED VIEW {monthly.name}")

    for view in (monthly, yearly):
        (status,) = read_view_status(lines, [view])
        if status.stale:
            refresh_view(lines, view)

    assert compare_view(lines, yearly).rows == 0
    assert lines.execute(f"SELECT sum(kg) FROM {yearly.name}").fetchone() == (21,)


def test_a_day_whose_rows_vanished_vanishes(lines, grains):
    lines.execute("DELETE FROM stg.shogun_final_receive WHERE slip_date = '2025-12-01'")
    assert [row[0] for row in read(lines)] == [D2]

    update(lines, grains)

    assert days_stored(lines, grains) == [D2]


def test_only_days_with_news_are_computed(lines, grains):
    # A trigger that is switched off logs nothing: what shows here is what wasn't computed.
    lines.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 1000 WHERE slip_date = '2025-12-01'")
    lines.execute("ALTER TABLE stg.shogun_final_receive ENABLE TRIGGER USER")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
    assert [row[3] for row in read(lines)] == [300, 7]

    assert update(lines, grains).days == 1

    assert [row[3] for row in read(lines)] == [300, 7]
    owe_days(lines, grains.relations[FINAL])
    assert [row[3] for row in read(lines)] == [2000, 7]
    assert (update(lines, grains).days, update(lines, grains).days) == (None, 0)
    assert [row[3] for row in read(lines)] == [2000, 7]


def test_changed_at_is_when_the_change_was_logged_and_stays_when_the_row_is_stored(lines, grains):
    times = f"SELECT ddate, changed_at FROM {FINAL}"
    before = dict(lines.execute(times).fetchall())
    lines.execute("UPDATE stg.shogun_final_receive SET item_name = 'x'")
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
    (logged,) = lines.execute("SELECT max(noted_at) FROM log.change_note WHERE day = '2025-12-02'").fetchone()
    live = dict(lines.execute(times).fetchall())

    assert update(lines, grains).rows_changed == 1

    assert live == dict(lines.execute(times).fetchall()) == {D1: before[D1], D2: logged}


def test_what_is_committed_meanwhile_is_news_to_the_next_update(database, lines, grains):
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
    with database.connect() as other, other.transaction():
        update_rollup(other, grains.relations[FINAL])
        lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 8 WHERE slip_date = '2025-12-01'")

    assert news(lines, grains) == {D1}
    assert [row[3] for row in read(lines)] == [16, 7]
    assert update(lines, grains).days == 1


def test_what_was_begun_before_an_update_and_committed_after_it_is_news(database, lines, grains):
    with database.connect() as other:
        with other.transaction():
            other.execute("UPDATE stg.shogun_final_receive SET net_weight = 8 WHERE slip_date = '2025-12-01'")
            # Both transactions that have ended and that haven't even begun count as seen or not by their numbers.
            lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
            update(lines, grains)
            assert [row[3] for row in read(lines)] == [300, 7]
        assert news(lines, grains) == {D1}
        assert [row[3] for row in read(lines)] == [16, 7]


def test_an_update_within_a_writers_transaction_hides_nothing_that_it_writes_later(lines, grains):
    with lines.transaction():
        lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 8 WHERE slip_date = '2025-12-01'")
        # So that the number of this transaction is lower than one that has ended.
        with psycopg.connect(lines.info.dsn) as other:
            other.execute("INSERT INTO ref.calendar_exception VALUES ('2025-12-01', 'FORCE_OPEN')")
        update_rollup(lines, grains.relations[FINAL])
        lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 9 WHERE slip_date = '2025-12-01'")
        assert [row[3] for row in read(lines)] == [18, Decimal("0.5")]

    assert [row[3] for row in read(lines)] == [18, Decimal("0.5")]
    update(lines, grains)
    assert [row[3] for row in read(lines)] == [18, Decimal("0.5")]


def test_two_updates_of_a_rollup_come_one_after_the_other(database, lines, grains):
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7")
    days = []
    with database.connect() as other:
        with lines.transaction():
            assert update_rollup(lines, grains.relations[FINAL]).days == 2
            second = threading.Thread(target=lambda: days.append(update(other, grains).days))
            second.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            wait_for("the second update waits", lambda: lines.execute(waits, [other.info.backend_pid]).fetchone()[0])
        second.join()
    assert days == [0]


def test_the_change_log_is_kept_until_every_reader_has_seen_it(lines, grains):
    for view in grains.materialized_views:
        lines.execute("INSERT INTO log.view_refresh (relation, mode, started_at, seconds, row_count, rows_inserted, "
                      "rows_deleted, size_bytes, business_date, snapshot) VALUES (%s, 'plain', now(), 0, 0, 0, 0, 0, "
                      "ref.business_date(), '999999999:999999999:')", [view.name])  # fmt: skip
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 7 WHERE slip_date = '2025-12-02'")
    readers = [rollup for rollup in grains.rollups if "stg.shogun_final_receive" in rollup.changed_days]
    for rollup in readers:
        prune_change_log(lines)
        assert news(lines, grains, rollup.name)
        update(lines, grains, rollup.name)

    prune_change_log(lines)

    assert len(readers) > 5
    assert tracked(lines) == set()
    assert [compare_rollup(lines, rollup).rows for rollup in readers] == [0] * len(readers)


# What others of its kind have got wrong


def test_lines_older_than_anything_stored_are_read(connection, grains):
    """As the lines that were there before an aggregate was made, on days before its first one."""
    add(connection, (D2, 1, 100, 10))
    update(connection, grains)
    add(connection, (date(2019, 1, 1), 1, 5, 1), (D1, 1, 7, 1))

    assert [row[0] for row in read(connection)] == [date(2019, 1, 1), D1, D2]
    assert days_stored(connection, grains) == [D2]


def test_a_month_over_days_is_right_whichever_of_them_is_stored(lines, grains):
    month, item = "mart.rollup_month", "mart.rollup_item"
    columns = "month_date, days, line_count, kg"
    for stored in ([], [FINAL], [month], [FINAL, month], [month, FINAL]):
        lines.execute("UPDATE stg.shogun_final_receive SET net_weight = net_weight + 1 WHERE slip_date = '2025-12-01'")
        expected = lines.execute(
            "SELECT date '2025-12-01', 2, 3, sum(net_weight) FROM stg.shogun_final_receive"
        ).fetchall()
        assert read(lines, month, columns) == [tuple(expected[0])]
        for name in stored:
            update(lines, grains, name)
            assert read(lines, month, columns) == [tuple(expected[0])]
    update(lines, grains, month)
    assert (news(lines, grains, month), news(lines, grains, item)) == (set(), {D1})


def test_a_line_that_moves_to_another_month_leaves_neither_behind(lines, grains):
    month = "mart.rollup_month"
    update(lines, grains, month)
    lines.execute("UPDATE stg.shogun_final_receive SET slip_date = '2025-11-30' WHERE slip_date = '2025-12-02'")

    found = [(date(2025, 11, 1), 1), (D1, 1)]
    assert read(lines, month, "month_date, days") == found
    assert update(lines, grains, month).days == 2
    assert read(lines, month, "month_date, days") == found
    assert days_stored(lines, grains, month) == [date(2025, 11, 1), D1]


def test_a_table_whose_rows_have_no_day_concerns_every_day(connection, grains):
    name = "mart.rollup_on_business_days"
    add(connection, (D1, 1, 100, 10), (D2, 1, 100, 10), table="shogun_flash_receive")
    update(connection, grains, name)
    connection.execute("INSERT INTO ref.calendar_exception VALUES ('2025-12-01', 'FORCE_CLOSED')")

    types = read(connection, name, "ddate, day_type")
    assert news(connection, grains, name) == {None}
    assert dict(types)[D1] != dict(types)[D2]
    assert update(connection, grains, name).days is None
    assert read(connection, name, "ddate, day_type") == types


def test_king_counts_with_its_text_dates(connection, grains):
    connection.execute(
        "INSERT INTO stg.receive_king_final (invoice_date, invoice_no, vehicle_type_code, net_weight_detail, amount) "
        "VALUES ('2021-03-01', 1, 1, 10, 1), ('2021/03/01', 1, 1, 20, 2), ('2021/02/30', 2, 1, 40, 4), "
        "('2021-03-01', 3, 2, 80, 8), ('2021-03-01', 4, 1, 0, 16), (NULL, 5, 1, 160, 32)"
    )
    name = "mart.rollup_king_receive"
    assert news(connection, grains, name) == {date(2021, 3, 1)}
    assert read(connection, name) == [(date(2021, 3, 1), 2, 1, Decimal(30), Decimal(3))]

    update(connection, grains, name)

    assert read(connection, name) == [(date(2021, 3, 1), 2, 1, Decimal(30), Decimal(3))]


def test_a_rolled_back_change_logs_nothing(database, lines):
    with database.connect() as other, other.transaction(force_rollback=True):
        other.execute("DELETE FROM stg.shogun_final_receive")

    assert tracked(lines) == set()


def test_a_key_that_identifies_no_row_is_said(lines, grains):
    rollup = grains.relations["mart.rollup_customer_sales"]
    lines.execute("UPDATE stg.shogun_final_receive SET category_cd = 1")
    lines.execute(
        "CREATE OR REPLACE VIEW mart.v_sales_tree_detail_base AS "
        + lines.execute("SELECT pg_get_viewdef('mart.v_sales_tree_detail_base'::regclass)").fetchone()[0]
    )
    broken = type(rollup)(rollup.name, rollup.header, rollup.query.replace("coalesce(customer_id, '')", "customer_id"),
                          rollup.line, rollup.relations)  # fmt: skip
    broken.__dict__["stored"] = rollup.stored

    with pytest.raises(RollupKeyError, match=r"\(sales_date, customer\) doesn't identify its rows: null value"):
        update(lines, type("Catalog", (), {"relations": {broken.name: broken}}), broken.name)
