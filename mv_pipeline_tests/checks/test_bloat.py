"""A view's file against what its rows need: dead rows that pile up are seen, ordinary ones aren't reported."""

import pytest

from mv_pipeline.catalog.relations import Catalog, Header, Relation
from mv_pipeline.checks.bloat import measure
from mv_pipeline.checks.rules import view_probes
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
def look(connection, catalog):
    (probe,) = [
        probe for probe in view_probes(Catalog([*catalog.relations.values(), VIEW]), VIEW) if probe.name == "bloat"
    ]
    assert probe.severity == "WARN"
    return lambda: probe.look(connection)


def test_a_view_just_written_is_as_large_as_its_rows_need(connection, wide):
    wide(ROWS)

    found = measure(connection, VIEW)

    assert found.rows == ROWS
    # What is left at the end of each page, and the pages that the server makes in advance, come on top.
    assert found.needed_bytes == pytest.approx(found.found_bytes, rel=0.15)
    assert not found.too_much


def test_a_few_refreshes_between_two_vacuums_are_ordinary(connection, wide, look):
    wide(ROWS)
    churn(connection, 2, ROWS)

    assert look().passed


def test_dead_rows_that_pile_up_are_seen_and_gone_after_what_the_message_says(connection, wide, look):
    wide(ROWS)
    churn(connection, 4, ROWS)
    finding = look()
    assert not finding.passed
    assert finding.metadata["bytes"] > 4 * finding.metadata["bytes_needed"]
    assert "MB expected." in finding.message

    connection.execute(finding.message.split("`")[1].encode())

    assert look().passed


def test_a_small_view_is_never_reported(connection, wide, look):
    wide(FEW)
    churn(connection, 10, FEW)

    finding = look()

    assert finding.metadata["bytes"] > 4 * finding.metadata["bytes_needed"]
    assert finding.passed
