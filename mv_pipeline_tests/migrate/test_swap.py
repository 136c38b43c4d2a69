"""A changed definition takes the old one's place: readers notice nothing, and what fails leaves all as it was."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.migrate.build import Built, build
from mv_pipeline.migrate.migrate import MigrateError, Migration, migrate, plan
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.conftest import LONG
from mv_pipeline_tests.migrate.adopt import observed
from mv_pipeline_tests.migrate.test_state import edited
from mv_pipeline_tests.processes import wait_for
from mv_pipeline_tests.readers import prepared, query, reading

VIEW = "mart.mv_receive_daily"
DAYS, CARD_DAYS = 1805, 2191
SWAPS = 10 if LONG else 4
# No reader may wait longer than a person before a dashboard would.
BEARABLE_S = 10.0

READS = {
    "view": query(f"SELECT count(*), sum(receive_net_ton) FROM {VIEW}"),
    "plain view": query("SELECT count(*), sum(receive_net_ton) FROM mart.v_receive_daily"),
    "months": query("SELECT sum(total_days), sum(receive_net_ton) FROM mart.v_receive_monthly"),
    # Both read the view: in one statement they never see two of its definitions.
    "join": query(
        "SELECT count(*), sum(d.receive_net_ton), max(w.tons) FROM mart.v_receive_daily AS d "
        "CROSS JOIN (SELECT sum(receive_net_ton) AS tons FROM mart.v_receive_weekly) AS w"
    ),
    "card": query("SELECT count(*) FROM mart.v_target_card_per_day AS c JOIN ref.v_calendar_classified USING (ddate)"),
    "materialized card": query("SELECT count(*) FROM mart.mv_target_card_per_day"),
    "prepared": prepared(f"SELECT count(*), sum(receive_net_ton) FROM {VIEW}"),
    "prepared over views": prepared("SELECT sum(total_days), sum(receive_net_ton) FROM mart.v_receive_monthly"),
}
# Without any list the days weigh nothing; by the other definition a ton each.
BOTH = {((DAYS, 0),), ((DAYS, DAYS),)}
LEGAL = {
    "view": BOTH,
    "plain view": BOTH,
    "months": BOTH,
    "join": {((DAYS, 0, 0),), ((DAYS, DAYS, DAYS),)},
    "card": {((CARD_DAYS,),)},
    "materialized card": {((CARD_DAYS,),)},
    "prepared": BOTH,
    "prepared over views": BOTH,
}


@pytest.fixture
def heavier(catalog: Catalog) -> Catalog:
    """The catalogue with one ton more on every day: another definition, the same columns."""
    before, after = "coalesce(s.net_weight_kg / 1000, 0)::numeric", "(coalesce(s.net_weight_kg / 1000, 0) + 1)::numeric"
    assert catalog.relations[VIEW].query.count(before) == 1
    return edited(catalog, VIEW, catalog.relations[VIEW].query.replace(before, after))


def tons(connection: Connection) -> int:
    return int(scalar(connection, f"SELECT sum(receive_net_ton) FROM {VIEW}"))


# Readers


def test_readers_of_swaps_see_no_error_and_never_an_empty_view(
    database: Database, connection: Connection, catalog: Catalog, heavier: Catalog
) -> None:
    with reading(database.url, READS) as readings:
        for number in range(SWAPS):
            result = migrate(database, catalog if number % 2 else heavier)
            assert result.changed[VIEW] == "swap"
            assert tons(connection) == (0 if number % 2 else DAYS)
            readings.more()

    assert readings.errors == []
    # Every reader read between any two swaps, so it has seen all that is legal, and nothing else.
    assert {name: set(results) for name, results in readings.results.items()} == LEGAL
    assert max(readings.slowest_s.values()) < BEARABLE_S


def test_a_transaction_that_is_older_than_the_swap_sees_a_full_view(database: Database, heavier: Catalog) -> None:
    with database.connect() as reader, reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert observed.count_rows(reader, "ref.closure_periods") == 0  # takes the snapshot

        migrate(database, heavier)

        assert observed.count_rows(reader, VIEW) == DAYS
        assert observed.count_rows(reader, "mart.mv_target_card_per_day") == CARD_DAYS


def test_views_on_top_are_swapped_along_and_are_fresh(
    database: Database, connection: Connection, catalog: Catalog, heavier: Catalog
) -> None:
    migrate(database, heavier)

    statuses = read_view_status(connection, heavier.materialized_views)
    assert [status.relation for status in statuses if status.stale] == []
    assert observed.rows(connection, "SELECT sum(receive_net_ton) FROM mart.v_receive_weekly") == [(DAYS,)]
    card = "SELECT day_actual_ton_prev FROM mart.mv_target_card_per_day WHERE ddate = '2025-12-11'"
    assert observed.rows(connection, card) == [(1,)]
    assert observed.rows(connection, "SELECT DISTINCT ave FROM mart.mv_inb_avg5y_day_biz") == [(1,)]


def test_a_day_that_begins_between_build_and_swap_is_in_the_view(
    database: Database, connection: Connection, heavier: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_until_midnight(session: Connection, relations: Iterable[Relation]) -> list[Built]:
        built = build(session, relations)
        if built:
            session.execute("SET mv_pipeline.business_date = '2025-12-12'")
        return built

    monkeypatch.setattr("mv_pipeline.migrate.build.build", build_until_midnight)

    migrate(database, heavier)

    assert observed.count_rows(connection, VIEW) == DAYS + 1


def test_what_does_not_read_the_view_is_not_touched(
    database: Database, connection: Connection, heavier: Catalog
) -> None:
    others = ("mart.mv_yard_daily", "mart.mv_shipment_daily", "ref.v_calendar_classified", "stg.shogun_final_receive")
    oids = [scalar(connection, "SELECT %s::regclass::oid", [name]) for name in others]

    changed = migrate(database, heavier).changed

    assert [scalar(connection, "SELECT %s::regclass::oid", [name]) for name in others] == oids
    assert not changed.keys() & set(others)


# What others gave the view


@pytest.fixture
def roles(settings: Settings, server: Settings) -> Iterator[None]:
    names = ("swap_reader", "swap_owner")
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE ROLE {name} NOLOGIN".encode())
        yield
        with psycopg.connect(settings.resolved_database_url(), autocommit=True) as own:
            for name in names:
                own.execute(f"DROP OWNED BY {name} CASCADE".encode())
        for name in names:
            connection.execute(f"DROP ROLE {name}".encode())


GIFTS = f"""
GRANT USAGE ON SCHEMA mart, ref TO swap_reader, swap_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA mart, ref TO swap_owner;
GRANT SELECT ON {VIEW} TO swap_reader WITH GRANT OPTION;
GRANT SELECT (ddate, day_target_ton) ON mart.mv_target_card_per_day TO swap_reader;
GRANT SELECT (y, m) ON mart.v_receive_monthly TO swap_reader;
GRANT SELECT ON mart.v_receive_weekly TO PUBLIC;
ALTER VIEW mart.v_receive_weekly OWNER TO swap_owner;
ALTER MATERIALIZED VIEW {VIEW} OWNER TO swap_owner;
COMMENT ON COLUMN {VIEW}.receive_net_ton IS '受入量 t';
COMMENT ON COLUMN mart.v_receive_monthly.sales_yen IS '売上 円';
CREATE INDEX by_source ON {VIEW} (source_system) WHERE receive_net_ton > 0;
CREATE INDEX by_month ON mart.mv_target_card_per_day (month_target_ton DESC);
ALTER MATERIALIZED VIEW {VIEW} SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER VIEW mart.v_receive_daily SET (security_barrier = true);
CREATE SCHEMA bi;
GRANT USAGE ON SCHEMA bi TO swap_reader;
CREATE VIEW bi.v_report AS SELECT ddate, receive_net_ton FROM mart.v_receive_daily;
GRANT SELECT ON bi.v_report TO swap_reader;
COMMENT ON VIEW bi.v_report IS '報告';
"""


def given(connection: Connection) -> dict[str, object]:
    return {
        "rights": observed.rights(connection),
        "owners": observed.owners(connection),
        "comments": observed.comments(connection),
        "indexes": observed.indexes(connection),
        "options": observed.rows(
            connection,
            "SELECT oid::regclass::text, reloptions::text FROM pg_class WHERE relkind IN ('v', 'm') "
            "AND reloptions IS NOT NULL ORDER BY 1",
        ),
    }


def test_rights_owner_comments_options_and_indexes_survive_a_swap(
    database: Database, connection: Connection, heavier: Catalog, roles: None
) -> None:
    connection.execute(GIFTS.encode())
    before = given(connection)

    assert migrate(database, heavier).changed[VIEW] == "swap"

    assert given(connection) == before
    assert observed.rows(connection, "SELECT sum(receive_net_ton) FROM bi.v_report") == [(DAYS,)]
    connection.execute("SET ROLE swap_reader")
    for name in (VIEW, "mart.v_receive_weekly", "bi.v_report"):
        assert observed.count_rows(connection, name) > 0, name


# Definitions that fail


def refused(database: Database, catalog: Catalog) -> str:
    with pytest.raises(MigrateError) as caught:
        migrate(database, catalog)
    return str(caught.value)


def test_a_column_that_is_not_there_is_said_with_its_line(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    lines = catalog.relations[VIEW].query.splitlines()
    file = (PROJECT_ROOT / "sql/mart/mv_receive_daily.sql").read_text(encoding="utf-8").splitlines()
    number = next(number for number, line in enumerate(file, 1) if "c.is_holiday" in line)
    wrong = "\n".join(line.replace("c.is_holiday", "c.no_such_column AS is_holiday") for line in lines)
    before = observed.snapshot(connection)

    message = refused(database, edited(catalog, VIEW, wrong))

    assert VIEW in message
    assert "no_such_column" in message
    assert re.search(rf"\bline {number}\b", message, re.IGNORECASE), message
    assert observed.snapshot(connection) == before


def test_an_error_that_only_filling_shows_leaves_all_as_it_was(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    query = catalog.relations[VIEW].query
    wrong = query.replace("c.y,", "1 / (c.y - 2023) AS y,")
    assert wrong != query
    before = observed.snapshot(connection)

    message = refused(database, edited(catalog, VIEW, wrong))

    assert VIEW in message
    assert "division by zero" in message
    assert observed.snapshot(connection) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("c.ddate = DATE '2024-02-29'", ["2024-02-29"]),
        ("c.ddate IN (DATE '2024-02-29', DATE '2025-01-01')", ["2024-02-29", "2025-01-01"]),
    ],
)
def test_rows_with_the_same_key_are_named(
    more: str, words: list[str], database: Database, connection: Connection, catalog: Catalog
) -> None:
    query = catalog.relations[VIEW].query
    double = f"{query}\nUNION ALL\n{query} AND {more}"
    before = observed.snapshot(connection)

    message = refused(database, edited(catalog, VIEW, double))

    assert VIEW in message
    assert "ddate" in message
    assert all(word in message for word in words), message
    assert observed.snapshot(connection) == before


def test_a_row_without_a_key_is_refused(database: Database, connection: Connection, catalog: Catalog) -> None:
    query = catalog.relations[VIEW].query
    wrong = query.replace("c.ddate,", "nullif(c.ddate, DATE '2024-02-29') AS ddate,", 1)
    assert wrong != query
    before = observed.snapshot(connection)

    message = refused(database, edited(catalog, VIEW, wrong))

    assert VIEW in message
    assert "ddate" in message
    assert observed.snapshot(connection) == before


def test_one_bad_definition_keeps_a_good_one_from_being_swapped(
    database: Database, connection: Connection, catalog: Catalog, heavier: Catalog
) -> None:
    before = observed.snapshot(connection)

    message = refused(
        database, edited(heavier, "mart.mv_yard_daily", "SELECT c.nothing AS ddate FROM ref.calendar_day AS c")
    )

    assert "mart.mv_yard_daily" in message
    assert observed.snapshot(connection) == before


# Waiting


@contextmanager
def migrating(database: Database, catalog: Catalog) -> Iterator[Future[Migration]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(migrate, database, catalog)


def waits(connection: Connection) -> set[object]:
    """When each wait of `migrate` for a lock on a relation began, of those that last just now."""
    return {
        row[0]
        for row in observed.rows(
            connection,
            "SELECT l.waitstart::text FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
            "WHERE NOT l.granted AND l.locktype = 'relation' AND l.waitstart IS NOT NULL "
            "AND a.application_name LIKE 'mv_pipeline%'",
        )
    }


def test_a_long_reader_delays_the_swap_but_no_reader_behind_it(
    database: Database, connection: Connection, heavier: Catalog
) -> None:
    reads = {name: READS[name] for name in ("view", "months", "prepared")}
    with (
        reading(database.url, reads) as readings,
        migrating(database, heavier) as swapping,
        database.connect() as long_reader,
    ):
        with long_reader.transaction():
            assert observed.count_rows(long_reader, VIEW) == DAYS
            seen: set[object] = set()

            def tried_again() -> bool:
                assert not swapping.done(), swapping.exception()
                seen.update(waits(connection))
                return len(seen) > 1

            wait_for("migrate gives way and tries again", tried_again)
            readings.more(5)
            assert not swapping.done()
        assert swapping.result().changed[VIEW] == "swap"
        readings.more()

    assert readings.errors == []
    assert {name: set(results) for name, results in readings.results.items()} == dict.fromkeys(reads, BOTH)
    assert max(readings.slowest_s.values()) < BEARABLE_S
    assert tons(connection) == DAYS


# Drift


def test_a_view_that_somebody_changed_by_hand_is_found_and_replaced(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    name = "mart.v_receive_daily"
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {catalog.relations[name].query} WHERE y < 2023")
    assert observed.count_rows(connection, name) == 730

    planned = plan(database, catalog)
    migration = migrate(database, catalog)

    assert any(name in step.what and "hand" in step.why for step in planned.steps), planned.steps
    assert migration.changed[name] == "swap"
    assert observed.count_rows(connection, name) == DAYS
    assert plan(database, catalog).steps == []


def test_a_materialized_view_that_somebody_made_anew_is_found_and_replaced(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    name = "mart.mv_yard_daily"
    connection.execute(f"DROP MATERIALIZED VIEW {name}")
    connection.execute(f"CREATE MATERIALIZED VIEW {name} AS {catalog.relations[name].query} AND c.y < 2023")
    connection.execute(f"CREATE UNIQUE INDEX ON {name} (ddate)")

    planned = plan(database, catalog)
    migrate(database, catalog)

    assert any(name in step.what for step in planned.steps)
    assert observed.count_rows(connection, name) == DAYS
    assert plan(database, catalog).steps == []


def test_an_index_that_somebody_dropped_is_found_and_made_again(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    connection.execute(f"DROP INDEX {VIEW}_iso_year_iso_week")

    planned = plan(database, catalog)
    migrate(database, catalog)

    assert any(VIEW in step.what for step in planned.steps)
    assert any(row[0] == VIEW and row[5] == "btree (iso_year, iso_week)" for row in observed.indexes(connection))
    assert plan(database, catalog).steps == []


def test_comments_and_blanks_are_no_change(database: Database, catalog: Catalog) -> None:
    query = catalog.relations[VIEW].query
    other = "-- why this is so\n" + query.replace("SELECT\n", "SELECT  /* all days */\n\n", 1)

    assert plan(database, edited(catalog, VIEW, other)).steps == []
