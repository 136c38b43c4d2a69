"""Old rows of the log go; what somebody still reads stays, however old it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mv_pipeline.operations.retention import Deleted, Limits, delete_rows
from mv_pipeline.refresh.views import log_failure, read_view_status, refresh_view
from mv_pipeline_tests.factory import line, roll_up, take

RECEIVE, YARD = "mart.mv_receive_daily", "mart.mv_yard_daily"
NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=400)


@pytest.fixture
def old(connection):
    """Make every row of the log so old that it may go; the order in time stays."""

    def make_old():
        age = timedelta(days=500)
        connection.execute("UPDATE log.view_refresh SET started_at = started_at - %s", [age])
        connection.execute("UPDATE log.refresh_failure SET failed_at = failed_at - %s", [age])
        connection.execute("UPDATE log.incident SET closed_at = closed_at - %s", [age])

    return make_old


def count(connection, query, *params):
    return connection.execute(query, params).fetchone()[0]


def test_the_newest_refresh_of_each_view_stays(database, connection, catalog, old):
    for _ in range(3):
        refresh_view(connection, catalog.relations[RECEIVE])
    old()
    everything = "SELECT count(*) FROM log.view_refresh"
    views = "SELECT count(DISTINCT relation) FROM log.view_refresh"
    rows, relations = count(connection, everything), count(connection, views)
    newest = read_view_status(connection, [catalog.relations[RECEIVE]])

    deleted = delete_rows(database, BEFORE, Limits())

    assert deleted["log.view_refresh"] == Deleted(rows - relations)
    assert count(connection, everything) == count(connection, views) == relations
    assert read_view_status(connection, [catalog.relations[RECEIVE]]) == newest
    assert not newest[0].stale


def test_a_failure_that_no_refresh_followed_stays(database, connection, catalog, old):
    log_failure(connection, catalog.relations[YARD], "repaired")
    refresh_view(connection, catalog.relations[YARD])
    log_failure(connection, catalog.relations[RECEIVE], "lasts")
    old()
    status = read_view_status(connection, [catalog.relations[RECEIVE]])

    assert delete_rows(database, BEFORE, Limits())["log.refresh_failure"] == Deleted(1)

    assert status[0].failing_since
    assert read_view_status(connection, [catalog.relations[RECEIVE]]) == status


def test_a_failure_to_store_a_rollup_stays_until_it_is_stored_and_one_of_what_is_gone_goes(
    database, connection, catalog, old
):
    rollup = next(rollup for rollup in catalog.rollups if rollup.name == "mart.rollup_shogun_final_yard")
    log_failure(connection, replace(rollup, name="mart.rollup_removed"), "removed")
    log_failure(connection, rollup, "lasts")
    connection.execute("UPDATE log.rollup SET updated_at = updated_at - interval '900 days'")
    old()

    assert delete_rows(database, BEFORE, Limits())["log.refresh_failure"] == Deleted(1)
    assert count(connection, "SELECT count(*) FROM log.refresh_failure WHERE error = 'lasts'") == 1

    connection.execute("INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')")
    roll_up(connection, catalog)
    assert delete_rows(database, BEFORE, Limits())["log.refresh_failure"] == Deleted(1)


def test_incidents_go_when_they_are_over_and_everybody_has_been_told(database, connection, old):
    for key, closed_at, told in (
        ("open", None, []),
        ("over", NOW, []),
        ("over, somebody could not be told", NOW, ["1 mailto"]),
    ):
        connection.execute(
            "INSERT INTO log.incident (key, kind, level, audience, state, title, message, opened_at, first_seen_at, "
            "last_seen_at, closed_at, told) VALUES (%s, '', '', '', '', '', '', now(), now(), now(), %s, %s)",
            [key, closed_at, told],
        )
    connection.execute("UPDATE log.incident SET closed_at = closed_at - interval '3 days'")
    delete_rows(database, NOW - timedelta(days=2), Limits())
    keys = connection.execute("SELECT key FROM log.incident ORDER BY id").fetchall()
    assert keys == [("open",), ("over, somebody could not be told",)]

    old()
    delete_rows(database, BEFORE, Limits())

    assert connection.execute("SELECT key FROM log.incident").fetchall() == [("open",)]


def test_totals_and_uploads_stay(database, connection, catalog, settings, old):
    take(connection, settings, [line("shogun_final_receive")])
    connection.execute("UPDATE log.upload_file SET uploaded_at = uploaded_at - interval '500 days'")
    refresh_view(connection, catalog.relations[RECEIVE])
    old()
    totals = connection.execute("SELECT * FROM log.counter ORDER BY 1, 2, 3").fetchall()

    delete_rows(database, BEFORE, Limits())

    assert connection.execute("SELECT * FROM log.counter ORDER BY 1, 2, 3").fetchall() == totals
    assert take(connection, settings, [line("shogun_final_receive")]).status == "duplicate"


def test_young_rows_stay_and_one_run_deletes_so_many(database, connection, catalog, old):
    for _ in range(4):
        refresh_view(connection, catalog.relations[RECEIVE])
    assert not any(deleted.count for deleted in delete_rows(database, BEFORE, Limits()).values())
    old()

    first = delete_rows(database, BEFORE, Limits(rows=2))["log.view_refresh"]

    assert first == Deleted(2, more=True)
