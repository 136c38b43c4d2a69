"""A view's file against what its rows need: dead rows that pile up are seen, ordinary ones aren't reported."""

import pytest

from mv_pipeline.catalog.relations import Catalog, Header, Relation
from mv_pipeline.checks.rules import quick_checks
from mv_pipeline.refresh.views import refresh_view

HEADER = Header(
    description="試験", description_en="A test.", owner="team:data-platform", key=("n",), criticality="optional"
)
VIEW = Relation("mart.mv_wide", HEADER, "SELECT ddate AS n FROM ref.calendar_day")
ROWS, FEW = 20_000, 500


@pytest.fixture
def wide(connection):
    """Make a view of about 370 bytes a row, whose every row changes when its source is turned, without autovacuum."""

    def make(rows):
        connection.execute(f"CREATE TABLE mart.numbers AS SELECT n, 0 AS turn FROM generate_series(1, {rows}) AS n")
        connection.execute(
            "CREATE MATERIALIZED VIEW mart.mv_wide WITH (autovacuum_enabled = off) AS "
            "SELECT n, repeat(md5((n + turn)::text), 10) AS filler FROM mart.numbers"
        )
        connection.execute("CREATE UNIQUE INDEX ON mart.mv_wide (n)")

    return make


def churn(connection, times, rows):
    for _ in range(times):
        connection.execute("UPDATE mart.numbers SET turn = turn + 1")
        assert refresh_view(connection, VIEW).inserted == rows


@pytest.fixture
def measure(connection, catalog):
    with_view = Catalog([*catalog.relations.values(), VIEW])
    (check,) = [check for check in quick_checks(with_view, VIEW.name) if check.name == "bloat"]
    assert check.severity == "WARN"
    return lambda: check.evaluate(connection)


def test_a_view_just_written_is_as_large_as_its_rows_need(wide, measure):
    wide(ROWS)

    result = measure()

    assert result.metadata["rows"] == ROWS
    # What is left at the end of each page, and the pages that the server makes in advance, come on top.
    assert result.metadata["bytes_needed"] == pytest.approx(result.metadata["bytes"], rel=0.15)
    assert result.passed


def test_a_few_refreshes_between_two_vacuums_are_ordinary(connection, wide, measure):
    wide(ROWS)
    churn(connection, 2, ROWS)

    assert measure().passed


def test_dead_rows_that_pile_up_are_seen_and_gone_after_what_the_message_says(connection, wide, measure):
    wide(ROWS)
    churn(connection, 4, ROWS)
    result = measure()
    assert not result.passed
    assert result.metadata["bytes"] > 4 * result.metadata["bytes_needed"]
    assert " expected." in result.message

    connection.execute(result.remedy.split("`")[1].encode())

    assert measure().passed


def test_a_small_view_is_never_reported(connection, wide, measure):
    wide(FEW)
    churn(connection, 10, FEW)

    result = measure()

    assert result.metadata["bytes"] > 4 * result.metadata["bytes_needed"]
    assert result.passed
