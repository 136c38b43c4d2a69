"""`migrate` on the database that runs already: everything of theirs stays as it was, and everything of ours works."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.migrate.migrate import Migration, migrate, plan
from mv_pipeline.refresh.views import read_view_status, refresh_view
from mv_pipeline.settings import Settings
from mv_pipeline_tests import factory
from mv_pipeline_tests.conftest import LONG, create_database, drop_database
from mv_pipeline_tests.migrate.adopt import observed, running_database
from mv_pipeline_tests.migrate.adopt.contract import COLUMNS, MATERIALIZED_VIEWS, PLAIN_VIEWS, TABLES
from mv_pipeline_tests.migrate.adopt.running_database import DASHBOARD, OBSOLETE, THEIR_VERSION, UNMANAGED_VIEWS
from mv_pipeline_tests.readers import query, reading

VIEWS = [name for name in (*MATERIALIZED_VIEWS, *PLAIN_VIEWS) if name not in OBSOLETE]
YARD_VIEWS = [name for name in VIEWS if name.endswith("_yard")]
LINES = 300_000 if LONG else 50_000
LOCKS = {
    "",  # nobody waits
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
}


@dataclass(frozen=True)
class Moved:
    """A migrated database, and what was in it before."""

    connection: Connection
    migration: Migration
    progress: list[str]
    before: dict[str, Any]


def held(connection: Connection, name: str) -> object:
    """A view's rows; of a view that shows lines as they are, only their number and hash."""
    if name.startswith("stg.v_active_") or name == "mart.v_sales_tree_detail_base":
        return observed.contents(connection, [name])
    return observed.all_rows(connection, name)


def seen(connection: Connection) -> dict[str, Any]:
    return {
        "contents": observed.contents(connection),
        "views": {name: held(connection, name) for name in VIEWS},
        "unmanaged": {name: observed.rows(connection, f"TABLE {name} ORDER BY 1, 2") for name in UNMANAGED_VIEWS},
        "indexes": observed.indexes(connection),
        "rights": observed.rights(connection),
        "owners": observed.owners(connection),
        "comments": observed.comments(connection),
        "sequences": observed.sequences(connection),
    }


def move_in(url: str, catalog: Catalog) -> Iterator[Moved]:
    database = Database(url=url)
    with database.connect() as connection:
        before = seen(connection)
        progress: list[str] = []
        migration = migrate(database, catalog, progress.append)
        yield Moved(connection, migration, progress, before)


@pytest.fixture(scope="module")
def moved(server: Settings, running_template: str, catalog: Catalog) -> Iterator[Moved]:
    """Only read from it."""
    url = create_database(server, running_template)
    try:
        yield from move_in(url, catalog)
    finally:
        drop_database(server, url)


def existed(moved: Moved, rows: observed.Rows) -> observed.Rows:
    """The rows about what was there before and isn't obsolete."""
    names = moved.before["owners"].keys() - set(OBSOLETE)
    schemas = {name.split(".")[0] for name in names}
    return [row for row in rows if row[0] in schemas or ".".join(row[0].split(".")[:2]) in names]


# What was there


@pytest.mark.parametrize("name", TABLES)
def test_no_row_of_a_table_that_was_there_is_added_changed_or_lost(name: str, moved: Moved) -> None:
    assert observed.contents(moved.connection, [name])[name] == moved.before["contents"][name]


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_holds_the_same_rows_by_our_definition_as_by_theirs(name: str, moved: Moved) -> None:
    assert held(moved.connection, name) == moved.before["views"][name]


def test_every_column_is_still_the_contracts(moved: Moved) -> None:
    found = observed.columns(moved.connection)
    promised = [column for name, columns in COLUMNS.items() if name not in OBSOLETE for column in columns]

    assert sorted(c for c in found if c.relation in COLUMNS) == sorted(promised)


def test_their_indexes_stay_under_their_names(moved: Moved) -> None:
    before = {row for row in moved.before["indexes"] if row[0] not in OBSOLETE}
    # The key's index of a materialized view is ours to name; all others are theirs.
    keys = {"mart.ux_mv_receive_daily_ddate", "mart.ux_mv_target_card_ddate"}
    after = observed.indexes(moved.connection)

    assert {row for row in before if row[1] not in keys} <= set(after)
    assert {(row[0], *row[3:]) for row in before} <= {(row[0], *row[3:]) for row in after}


def test_no_index_is_made_where_theirs_does(moved: Moved) -> None:
    assert observed.double_indexes(moved.connection) == []


def test_missing_keys_and_indexes_are_added(moved: Moved) -> None:
    after = observed.indexes(moved.connection)
    unique = {(row[0], row[5].removeprefix("btree ")) for row in after if row[3] and row[4]}
    whole = {(row[0], row[5].removeprefix("btree ")) for row in after if row[4]}

    assert {(f"stg.{kind.name}", "(id)") for kind in KINDS} <= unique
    assert {
        ("ref.calendar_day", "(ddate)"),
        ("ref.calendar_month", "(month_date)"),
        ("ref.holiday_jp", "(hdate)"),
        ("ref.closure_periods", "(start_date, end_date)"),
        ("ref.closure_membership", "(ddate)"),
        ("ref.calendar_exception", "(ddate)"),
        ("log.upload_file", "(id)"),
        ("mart.mv_receive_daily", "(ddate)"),
        ("mart.mv_target_card_per_day", "(ddate)"),
    } <= unique
    for kind in KINDS:
        assert {(f"stg.{kind.name}", "(slip_date)"), (f"stg.{kind.name}", "(upload_file_id)")} <= whole
    for view in MATERIALIZED_VIEWS:
        assert (view, "(iso_year, iso_week)") in whole


def test_sequences_stay_shared_and_where_they_were(moved: Moved) -> None:
    after = observed.sequences(moved.connection)

    assert set(moved.before["sequences"]) <= set(after)


def test_another_softwares_version_table_is_left_alone(moved: Moved) -> None:
    assert observed.rows(moved.connection, "SELECT * FROM public.alembic_version") == [(THEIR_VERSION,)]
    assert observed.count_rows(moved.connection, "log.mv_pipeline_version") == 1


def test_rights_stay_to_the_column_and_the_grant_option(moved: Moved) -> None:
    assert existed(moved, observed.rights(moved.connection)) == existed(moved, moved.before["rights"])


def test_owners_stay(moved: Moved) -> None:
    after = observed.owners(moved.connection)

    assert {name: after.get(name) for name in moved.before["owners"] if name not in OBSOLETE} == {
        name: owner for name, owner in moved.before["owners"].items() if name not in OBSOLETE
    }


def test_comments_stay(moved: Moved) -> None:
    after = observed.comments(moved.connection)

    assert {what: after.get(what) for what in moved.before["comments"]} == moved.before["comments"]


def test_dashboards_read_every_view_that_they_read(moved: Moved) -> None:
    with moved.connection.transaction():
        moved.connection.execute(f"SET LOCAL ROLE {DASHBOARD}")
        for name in (*VIEWS, *UNMANAGED_VIEWS):
            assert observed.count_rows(moved.connection, name) > 0, name


@pytest.mark.parametrize("name", UNMANAGED_VIEWS)
def test_views_of_others_on_top_are_there_and_show_the_same(name: str, moved: Moved) -> None:
    assert observed.rows(moved.connection, f"TABLE {name} ORDER BY 1, 2") == moved.before["unmanaged"][name]


# What is done


def test_what_is_compatible_is_adopted_and_everything_else_is_created_or_swapped(
    moved: Moved, catalog: Catalog
) -> None:
    changed = moved.migration.changed

    assert {name: changed.get(name) for name in YARD_VIEWS} == dict.fromkeys(YARD_VIEWS, "adopt")
    assert {changed.get(name) for name in MATERIALIZED_VIEWS} == {"swap"}
    assert {name for name, action in changed.items() if action == "create"} == catalog.relations.keys() - set(VIEWS)
    assert changed.keys() == catalog.relations.keys()


def test_every_view_is_ours_fresh_and_populated(moved: Moved, catalog: Catalog) -> None:
    statuses = read_view_status(moved.connection, catalog.materialized_views)
    assert [status.relation for status in statuses if status.stale] == []


def test_the_move_says_how_far_it_is(moved: Moved) -> None:
    assert moved.progress


@pytest.mark.moved
def test_a_second_time_there_is_nothing_to_do(database: Database, connection: Connection, catalog: Catalog) -> None:
    before = observed.snapshot(connection)

    planned = plan(database, catalog)
    again = migrate(database, catalog)

    assert planned.steps == []
    assert (again.changed, again.dropped, observed.snapshot(connection)) == ({}, [], before)


def test_the_plan_changes_nothing_and_says_all_that_is_done_why_and_who_waits(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    before = observed.snapshot(connection)

    planned = plan(database, catalog)

    assert observed.snapshot(connection) == before
    assert all(step.what and step.why for step in planned.steps)
    assert {step.lock for step in planned.steps} <= LOCKS
    steps = [step.what for step in planned.steps]
    done = migrate(database, catalog)
    for name in (*done.changed, *done.dropped):
        assert any(name in step for step in steps), name
    # Triggers on a table make writers wait, a view's exchange its readers.
    for name, lock in (
        ("stg.shogun_final_receive", "SHARE ROW EXCLUSIVE"),
        ("mart.mv_receive_daily", "ACCESS EXCLUSIVE"),
    ):
        assert any(name in step.what and step.lock == lock for step in planned.steps), name


def test_the_plan_is_in_the_order_in_which_it_is_done(database: Database, catalog: Catalog) -> None:
    steps = [step.what for step in plan(database, catalog).steps]

    def first(name: str, verb: str = "") -> int:
        return next(place for place, step in enumerate(steps) if name in step and verb in step.lower())

    assert first("mart.rollup_shogun_final_receive") < first("mart.mv_receive_daily")
    assert first("mart.mv_receive_daily") < first("mart.mv_target_card_per_day")
    assert first("mart.v_customer_sales_daily") < first("mart.v_sales_tree_daily", "drop")


def test_a_view_that_somebody_made_by_our_definition_is_only_recorded(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    name = "ref.v_closure_days"
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {catalog.relations[name].query}")
    oid = scalar(connection, "SELECT %s::regclass::oid", [name])

    changed = migrate(database, catalog).changed

    assert changed[name] == "adopt"
    assert scalar(connection, "SELECT %s::regclass::oid", [name]) == oid
    assert scalar(connection, "SELECT definition_hash FROM log.relation WHERE name = %s", [name]) == (
        catalog.relations[name].definition_hash
    )


def test_somebodys_materialized_view_on_ours_stays_filled_indexed_and_readable(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    running_database.add_materialized_view(connection)
    before = (
        observed.rows(connection, "TABLE bi.mv_year ORDER BY y"),
        [row for row in observed.indexes(connection) if row[0] == "bi.mv_year"],
        [row for row in observed.rights(connection) if row[0] == "bi.mv_year"],
    )

    migrate(database, catalog)

    assert before == (
        observed.rows(connection, "TABLE bi.mv_year ORDER BY y"),
        [row for row in observed.indexes(connection) if row[0] == "bi.mv_year"],
        [row for row in observed.rights(connection) if row[0] == "bi.mv_year"],
    )


class BrokenOffError(Exception):
    """Somebody pressed Ctrl-C."""


def test_a_move_that_breaks_off_at_any_step_does_no_harm_and_is_taken_up_again(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    tables, views = observed.contents(connection), {name: held(connection, name) for name in MATERIALIZED_VIEWS}

    def broken_off_at(number: int) -> bool:
        steps = itertools.count(1)

        def progress(_: str) -> None:
            if next(steps) == number:
                raise BrokenOffError

        try:
            migrate(database, catalog, progress)
        except BrokenOffError:
            return True
        return False

    for number in itertools.count(1):
        broken_off = broken_off_at(number)
        assert observed.contents(connection) == tables, number
        assert {name: held(connection, name) for name in MATERIALIZED_VIEWS} == views, number
        if not broken_off:
            break

    assert number > 1
    assert plan(database, catalog).steps == []


# Life goes on


def bring_up_to_date(connection: Connection, catalog: Catalog) -> None:
    factory.roll_up(connection, catalog)
    for view in catalog.materialized_views:
        refresh_view(connection, view)


@pytest.mark.moved
def test_a_file_is_loaded_and_every_view_follows(
    database: Database, connection: Connection, settings: Settings, catalog: Catalog
) -> None:
    day = "2025-11-28"
    lines = "SELECT count(*) FROM stg.v_active_shogun_final_receive WHERE slip_date = %s"
    assert scalar(connection, lines, [day]) > 1
    last_id = scalar(connection, "SELECT last_value FROM stg.shogun_flash_receive_id_seq")
    month = "SELECT receive_net_ton FROM mart.v_receive_monthly WHERE (y, m) = (2025, 11)"
    of_day = "SELECT receive_net_ton FROM mart.v_receive_daily WHERE ddate = %s"
    month_before, day_before = scalar(connection, month), scalar(connection, of_day, [day])

    upload = factory.take(
        connection,
        settings,
        [factory.line(slip_date="2025/11/28", net_weight="5000", amount="100000", receive_no="1", category_cd="1")],
    )
    bring_up_to_date(connection, catalog)

    assert upload is not None
    assert upload.status == "loaded", upload.message
    assert observed.rows(
        connection,
        f"SELECT id > {last_id}, upload_file_id FROM stg.v_active_shogun_final_receive WHERE slip_date = '{day}'",
    ) == [(True, upload.id)]
    row = f"SELECT receive_net_ton, sales_yen, source_system FROM mart.v_receive_daily WHERE ddate = '{day}'"
    assert observed.rows(connection, row) == [(Decimal(5), 100000, "shogun_final")]
    assert scalar(connection, month) == month_before - day_before + 5
    report = f"SELECT receive_net_ton FROM bi.v_receive_report WHERE ddate = '{day}'"
    card = f"SELECT day_actual_ton_prev FROM mart.mv_target_card_per_day WHERE ddate = '{day}'::date + 1"
    sales = f"SELECT total_amount_yen FROM mart.v_customer_sales_daily WHERE sales_date = '{day}'"
    assert (scalar(connection, report), scalar(connection, card)) == (5, 5)
    assert observed.rows(connection, sales) == [(Decimal(100000),)]


@pytest.mark.moved
def test_what_people_change_by_hand_is_noted(database: Database, connection: Connection, catalog: Catalog) -> None:
    connection.execute("UPDATE stg.receive_king_final SET net_weight_detail = 7 WHERE invoice_date = '2021-01-05'")
    connection.execute("UPDATE mart.daily_target_plan SET target_ton = 1 WHERE ddate = '2025-12-01'")

    (card,) = read_view_status(connection, [catalog.relations["mart.mv_target_card_per_day"]])

    assert set(card.changed) == {"mart.daily_target_plan", "stg.receive_king_final"}


def test_dashboards_read_on_while_the_project_moves_in(
    database: Database, catalog: Catalog, connection: Connection
) -> None:
    reads = {
        name: query(f"SELECT count(*) FROM {name}")
        for name in ("mart.mv_receive_daily", "mart.v_receive_weekly", "mart.mv_target_card_per_day", *UNMANAGED_VIEWS)
    }
    expected = {name: {((observed.count_rows(connection, name),),)} for name in reads}

    with reading(database.url, reads) as readings:
        migrate(database, catalog)

    assert readings.errors == []
    assert {name: set(results) for name, results in readings.results.items()} == expected


def test_uploads_go_on_while_the_project_moves_in_and_none_is_missed(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    ended = threading.Event()
    waits, errors = [], []

    def upload() -> None:
        with database.connect("upload") as own:
            own.execute("SET lock_timeout = '20s'")
            while not ended.is_set():
                try:
                    waits.append(
                        scalar(
                            own,
                            "INSERT INTO stg.shogun_final_receive (slip_date, net_weight) "
                            "VALUES (DATE '2025-12-01' + (random() * 8)::integer, 1) "
                            "RETURNING extract(epoch FROM clock_timestamp() - statement_timestamp())::float",
                        )
                    )
                except psycopg.Error as error:
                    errors.append(str(error))
                    return

    uploader = threading.Thread(target=upload)
    uploader.start()
    try:
        migrate(database, catalog)
    finally:
        ended.set()
        uploader.join()
    bring_up_to_date(connection, catalog)

    assert errors == []
    assert waits
    assert observed.rows(
        connection,
        "SELECT ddate, (receive_net_ton * 1000)::integer FROM mart.mv_receive_daily "
        "WHERE source_system = 'shogun_final' AND ddate BETWEEN '2025-12-01' AND '2025-12-10' ORDER BY 1",
    ) == observed.rows(
        connection,
        "SELECT slip_date, sum(net_weight)::integer FROM stg.shogun_final_receive "
        "WHERE NOT is_deleted AND slip_date BETWEEN '2025-12-01' AND '2025-12-10' GROUP BY 1 ORDER BY 1",
    )


# Size


def test_many_lines_move_in_unchanged(server: Settings, running_roles: None, catalog: Catalog) -> None:
    url = create_database(server)
    try:
        with Database(url=url).connect() as connection:
            running_database.build(connection, lines=LINES)
            lines = [observed.count_rows(connection, f"stg.shogun_{version}_receive") for version in ("flash", "final")]
            assert sum(lines) > LINES * 0.8
        for moved in move_in(url, catalog):
            assert observed.contents(moved.connection) == moved.before["contents"]
            for name in VIEWS:
                assert held(moved.connection, name) == moved.before["views"][name], name
                moved.connection.execute(f"SET ROLE {DASHBOARD}")
                assert observed.count_rows(moved.connection, name) > 0
                moved.connection.execute("RESET ROLE")
            assert plan(Database(url=url), catalog).steps == []
    finally:
        drop_database(server, url)
