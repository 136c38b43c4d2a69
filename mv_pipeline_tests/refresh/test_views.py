"""Refreshing a view, and knowing whether it is fresh."""

import psycopg
import pytest

from mv_pipeline.refresh.views import prune_change_log, read_view_status, refresh_view
from mv_pipeline_tests.factory import roll_up

RECEIVE, CARD, YARD = "mart.mv_receive_daily", "mart.mv_target_card_per_day", "mart.mv_yard_daily"
ADD_LINE = "INSERT INTO stg.shogun_final_receive (slip_date, receive_no, net_weight) VALUES ('2025-12-01', 1, 1000)"


def news(connection, catalog, name):
    (status,) = read_view_status(connection, [catalog.relations[name]])
    return status.changed


def fresh(connection, catalog):
    statuses = read_view_status(connection, catalog.materialized_views)
    return {status.relation for status in statuses if not status.stale}


def refresh_all(connection, catalog):
    return {view.name: refresh_view(connection, view) for view in catalog.materialized_views}


def test_a_new_database_is_fresh(connection, catalog):
    assert fresh(connection, catalog) == {view.name for view in catalog.materialized_views}


def test_a_refresh_is_concurrent_and_counts_what_it_changed(connection, catalog):
    connection.execute(ADD_LINE)

    refresh = refresh_view(connection, catalog.relations[RECEIVE], "a run")

    assert (refresh.mode, refresh.rows, refresh.inserted, refresh.deleted) == ("concurrently", 1805, 1, 1)
    assert connection.execute("SELECT run_id FROM log.view_refresh ORDER BY id DESC LIMIT 1").fetchone() == ("a run",)


def test_a_refresh_without_news_writes_nothing(connection, catalog):
    assert {(refresh.inserted, refresh.deleted) for refresh in refresh_all(connection, catalog).values()} == {(0, 0)}


def test_counts_of_earlier_refreshes_in_the_session_are_not_counted_again(connection, catalog):
    connection.execute(ADD_LINE)

    written = [refresh_view(connection, catalog.relations[RECEIVE]).inserted for _ in range(4)]

    assert written == [1, 0, 0, 0]


def test_an_unpopulated_view_gets_a_plain_refresh(connection, catalog):
    connection.execute("REFRESH MATERIALIZED VIEW mart.mv_yard_daily WITH NO DATA")

    refresh = refresh_view(connection, catalog.relations[YARD])

    assert (refresh.mode, refresh.rows) == ("plain", 1805)


def test_a_view_without_a_compatible_index_gets_a_plain_refresh(connection, catalog):
    connection.execute("DROP INDEX mart.mv_yard_daily_key")
    connection.execute("CREATE UNIQUE INDEX ON mart.mv_yard_daily (ddate) WHERE line_count >= 0")

    assert refresh_view(connection, catalog.relations[YARD]).mode == "plain"


def test_a_line_is_news_to_what_lies_downstream_of_its_list_and_to_nothing_else(connection, catalog):
    connection.execute(ADD_LINE)

    assert fresh(connection, catalog) == {"mart.mv_shipment_daily", "mart.mv_yard_daily"}
    assert news(connection, catalog, CARD) == ["stg.shogun_final_receive"]


def test_news_moves_down_the_lineage_step_by_step(connection, catalog):
    connection.execute(ADD_LINE)
    assert news(connection, catalog, CARD) == ["stg.shogun_final_receive"]

    refresh_view(connection, catalog.relations[RECEIVE])
    assert news(connection, catalog, RECEIVE) == []
    assert news(connection, catalog, CARD) == ["mart.mv_receive_daily", "stg.shogun_final_receive"]

    refresh_view(connection, catalog.relations[CARD])
    assert news(connection, catalog, CARD) == []


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-01', 5)", "mart.daily_target_plan"),
        (
            "INSERT INTO kpi.monthly_targets (month_date, segment, metric, value, unit) "
            "VALUES ('2025-12-01', 'factory', 'inbound', 5, 't')",
            "kpi.monthly_targets",
        ),
        ("INSERT INTO ref.closure_periods VALUES ('2025-12-01', '2025-12-02', 'x')", "ref.closure_periods"),
        ("DELETE FROM ref.holiday_jp WHERE hdate = '2025-01-01'", "ref.holiday_jp"),
        ("TRUNCATE mart.daily_target_plan", "mart.daily_target_plan"),
    ],
)
def test_inputs_and_reference_data_are_news_to_the_card(connection, catalog, statement, table):
    connection.execute(statement)

    assert news(connection, catalog, CARD) == [table]


def test_a_change_that_commits_during_a_refresh_is_news_after_it(database, connection, catalog):
    with database.connect() as other, other.transaction():
        other.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-01', 5)")
        refresh_view(connection, catalog.relations[CARD])

    assert news(connection, catalog, CARD) == ["mart.daily_target_plan"]


def test_a_moved_business_date_makes_views_stale(connection, catalog):
    connection.execute("SET mv_pipeline.business_date = '2025-12-12'")

    assert fresh(connection, catalog) == set()
    refresh_all(connection, catalog)
    assert fresh(connection, catalog) == {view.name for view in catalog.materialized_views}
    assert connection.execute("SELECT count(*) FROM mart.mv_receive_daily").fetchone() == (1806,)


def test_duplicate_keys_fail_and_leave_the_view_as_it_was(connection, catalog):
    before = connection.execute("SELECT count(*) FROM log.view_refresh").fetchone()
    connection.execute("ALTER TABLE ref.calendar_exception DROP CONSTRAINT calendar_exception_pkey")
    connection.execute(
        "INSERT INTO ref.calendar_exception VALUES ('2025-12-01', 'FORCE_OPEN'), ('2025-12-01', 'FORCE_CLOSED')"
    )

    with pytest.raises(psycopg.errors.UniqueViolation):
        refresh_view(connection, catalog.relations[RECEIVE])

    assert connection.execute("SELECT count(*) FROM mart.mv_receive_daily").fetchone() == (1805,)
    assert connection.execute("SELECT count(*) FROM log.view_refresh").fetchone() == before


def test_changes_that_every_rollup_and_view_has_seen_are_pruned(connection, catalog):
    def pruned():
        prune_change_log(connection)
        return {row[0] for row in connection.execute("SELECT relation FROM log.change_note")}

    connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-01', 5)")
    connection.execute(ADD_LINE)
    assert pruned() >= {"mart.daily_target_plan", "stg.shogun_final_receive"}

    # The views have seen the line, the rollups that read it haven't stored it.
    refresh_all(connection, catalog)
    assert pruned() == {"stg.shogun_final_receive"}
    assert news(connection, catalog, CARD) == []

    # Stored, but not seen by the views, it stays too.
    connection.execute(ADD_LINE)
    roll_up(connection, catalog)
    assert pruned() == {"stg.shogun_final_receive"}

    refresh_all(connection, catalog)
    assert pruned() == set()


def test_readers_are_not_blocked_by_a_refresh(database, connection, catalog):
    connection.execute(ADD_LINE)
    with database.connect() as reader, reader.transaction():
        reader.execute("SET LOCAL lock_timeout = '30s'")
        reader.execute("SELECT count(*) FROM mart.mv_receive_daily")

        assert refresh_view(connection, catalog.relations[RECEIVE]).mode == "concurrently"
        assert reader.execute("SELECT count(*) FROM mart.mv_receive_daily").fetchone() == (1805,)
