"""A rollup's file is added, changed and removed: its rows are right all the time, and filled in parts."""

import re
from datetime import date

import pytest

from mv_pipeline.catalog.relations import Catalog, Header, Relation, Rollup
from mv_pipeline.checks.recompute import compare_rollup
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.migrate import stored
from mv_pipeline.migrate.diff import RelationDiff, diff
from mv_pipeline.migrate.migrate import MigrateError, migrate
from mv_pipeline.migrate.plan import plan
from mv_pipeline.refresh.rollup import fill_days, update_rollup
from mv_pipeline.refresh.views import prune_change_log
from mv_pipeline_tests.migrate.test_state import edited
from mv_pipeline_tests.readers import query, reading

NAME = "mart.rollup_item"
QUERY = (
    "SELECT slip_date AS ddate, item_cd AS item, count(*) AS line_count, sum(net_weight) AS kg,\n"
    "count(*) FILTER (WHERE item_cd % 2 = 0 AND item_name NOT LIKE '%{x}%') AS even_lines\n"
    "FROM stg.v_active_shogun_final_receive GROUP BY slip_date, item_cd"
)
HEAVIER = QUERY.replace("sum(net_weight)", "sum(net_weight) + CASE item_cd WHEN 1 THEN 0 ELSE 1000 END")
HEADER = Header(description="品目別", description_en="By item.", owner="team:x", key=("ddate", "item"), day="ddate")


def having(catalog: Catalog, *more: Relation) -> Catalog:
    return Catalog([*(one for one in catalog.relations.values() if one.name not in {r.name for r in more}), *more])


@pytest.fixture
def by_item(catalog: Catalog) -> Catalog:
    return having(catalog, Relation(NAME, HEADER, QUERY))


@pytest.fixture
def heavier(by_item: Catalog) -> Catalog:
    return edited(by_item, NAME, HEAVIER)


@pytest.fixture
def lines(connection: Connection) -> Connection:
    connection.execute(
        "INSERT INTO stg.shogun_final_receive (slip_date, item_cd, net_weight) "
        "SELECT date '2025-01-01' + n % 200, n % 2, n FROM generate_series(1, 600) AS n"
    )
    return connection


def rollup(catalog: Catalog) -> Rollup:
    found = catalog.relations[NAME]
    assert isinstance(found, Rollup)
    return found


def stored_tables(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rollup' AND tablename ~ 'item'")
    return {f"rollup.{row[0]}" for row in rows}


def test_a_new_file_is_planned_filled_and_readable(database: Database, lines: Connection, by_item: Catalog) -> None:
    (step,) = plan(database, by_item).steps
    assert (step.what, step.lock) == (f"fill the rollup {NAME} in parts, then put it in its place", "")
    said: list[str] = []

    migrate(database, by_item, said.append)

    assert [line for line in said if NAME in line] == [f"{NAME}: {days} days to go" for days in (108, 16, 0)]
    assert scalar(lines, f"SELECT sum(kg) FROM {NAME}") == sum(range(1, 601))
    assert scalar(lines, f"SELECT sum(kg) FROM {rollup(by_item).stored}") == sum(range(1, 601))
    assert migrate(database, by_item).changed == {}


def test_a_changed_file_takes_the_old_ones_place(
    database: Database, lines: Connection, by_item: Catalog, heavier: Catalog
) -> None:
    migrate(database, by_item)
    times = f"SELECT item, max(changed_at) FROM {NAME} GROUP BY item"
    before = dict(lines.execute(times.encode()).fetchall())
    found = diff(database, heavier, NAME)
    assert (found.swapped, found.rows, found.reason) == (True, 100, "its file has changed")

    assert migrate(database, heavier).changed == {NAME: "swap"}

    after = dict(lines.execute(times.encode()).fetchall())
    assert compare_rollup(lines, rollup(heavier)).rows == 0
    assert scalar(lines, f"SELECT sum(kg) FROM {NAME}") == sum(range(1, 601)) + 100 * 1000
    assert (after[1], after[0] > before[0]) == (before[1], True), "rows that are the same haven't changed"
    assert stored_tables(lines) == {rollup(heavier).stored}
    assert scalar(lines, "SELECT count(*) FROM log.rollup WHERE relation = %s", [NAME]) == 1


def changed_lines(found: RelationDiff) -> list[str]:
    """The lines that differ, without blanks at their beginning and the relations that PostgreSQL names with columns."""
    lines = [line for line in found.definition[2:] if line[0] in "+-"]
    return [line[0] + re.sub(r"\b(v_active_\w+|live_1)\.", "", line[1:].strip()) for line in lines]


def test_a_diff_shows_what_the_author_has_changed(database: Database, lines: Connection, by_item: Catalog) -> None:
    migrate(database, by_item)
    renamed = QUERY.replace("AS ddate", "AS day_of_slip").replace("sum(net_weight) AS kg", "avg(net_weight) AS kg")
    header = HEADER.model_copy(update={"key": ("item", "day_of_slip"), "day": "day_of_slip"})

    found = diff(database, edited(by_item, NAME, QUERY.replace("sum(net_weight)", "min(net_weight)")), NAME)
    assert changed_lines(found) == ["-sum(net_weight) AS kg,", "+min(net_weight) AS kg,"]
    assert not any("changed_at" in line or "news" in line or "rollup." in line for line in found.definition)

    found = diff(database, having(by_item, Relation(NAME, header, renamed)), NAME)
    assert changed_lines(found) == [
        *("-key: ddate, item", "-day: ddate", "+key: day_of_slip, item", "+day: day_of_slip"),
        *("-slip_date AS ddate,", "+slip_date AS day_of_slip,"),
        *("-sum(net_weight) AS kg,", "+avg(net_weight) AS kg,"),
    ]


def test_a_diff_finds_the_authors_select_whatever_is_in_it(
    database: Database, lines: Connection, catalog: Catalog
) -> None:
    query = (
        "SELECT live.slip_date AS ddate, live.item_cd AS item, max(') AS live (') AS note, count(*) AS lines "
        "FROM (SELECT slip_date, item_cd FROM stg.v_active_shogun_final_receive) AS live "
        "GROUP BY live.slip_date, live.item_cd"
    )
    before = having(catalog, Relation(NAME, HEADER, query))
    migrate(database, before)

    found = diff(database, edited(before, NAME, query.replace("count(*)", "count(live.item_cd)")), NAME)

    assert changed_lines(found) == ["-count(*) AS lines", "+count(item_cd) AS lines"]


def test_comments_and_blanks_are_no_change(database: Database, lines: Connection, by_item: Catalog) -> None:
    migrate(database, by_item)
    same = edited(by_item, NAME, "-- by item\n" + QUERY.replace("FROM", "  from"))

    assert rollup(same).definition_hash == rollup(by_item).definition_hash
    assert migrate(database, same).changed == {}


def test_an_interrupted_migration_goes_on_where_it_stopped(
    database: Database, lines: Connection, by_item: Catalog, heavier: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database, by_item)

    def interrupted(connection: Connection, rollup: Rollup, at_most: int) -> int:
        left = fill_days(connection, rollup, at_most)
        if left < 100:
            raise KeyboardInterrupt
        return left

    with monkeypatch.context() as patch:
        patch.setattr(stored, "fill_days", interrupted)
        with pytest.raises(KeyboardInterrupt):
            migrate(database, heavier)
    assert compare_rollup(lines, rollup(by_item)).rows == 0
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 1 WHERE slip_date < '2025-01-03'")
    assert compare_rollup(lines, rollup(by_item)).rows == 0
    said: list[str] = []

    migrate(database, heavier, said.append)

    assert [line for line in said if NAME in line] == [f"{NAME}: {days} days to go" for days in (16, 0)]
    assert compare_rollup(lines, rollup(heavier)).rows == 0


def test_readers_see_one_definition_or_the_other_and_every_line(
    database: Database, lines: Connection, by_item: Catalog, heavier: Catalog
) -> None:
    migrate(database, by_item)
    reads = {
        "rows": query(f"SELECT sum(line_count) = (SELECT count(*) FROM stg.shogun_final_receive), "
                      f"(sum(kg) - (SELECT sum(net_weight) FROM stg.shogun_final_receive)) / 1000 FROM {NAME}"),
    }  # fmt: skip
    with reading(database.url, reads) as readings:
        for catalog in (heavier, by_item, heavier):
            migrate(database, catalog)
            lines.execute("INSERT INTO stg.shogun_final_receive (slip_date, item_cd, net_weight) VALUES (now(), 1, 7)")
            readings.more()

    assert {*readings.results["rows"]} == {((True, 0),), ((True, 100),)}


def test_a_view_below_that_changes_has_the_rollup_filled_anew(
    database: Database, lines: Connection, by_item: Catalog
) -> None:
    migrate(database, by_item)
    active = "stg.v_active_shogun_final_receive"
    text = by_item.relations[active].query
    changed = edited(by_item, active, text.replace("WHERE NOT is_deleted", "WHERE NOT is_deleted AND net_weight < 300"))

    assert migrate(database, changed).changed[NAME] == "swap"

    assert rollup(changed).stored != rollup(by_item).stored
    assert scalar(lines, f"SELECT sum(kg) FROM {rollup(changed).stored}") == sum(range(1, 300))


def test_a_view_below_that_somebody_has_changed_by_hand_has_every_day_computed_again(
    database: Database, lines: Connection, by_item: Catalog
) -> None:
    migrate(database, by_item)
    name = "stg.v_active_shogun_final_receive"
    definition = scalar(lines, "SELECT rtrim(pg_get_viewdef(%s::regclass), ';')", [name])
    lines.execute(f"CREATE OR REPLACE VIEW {name} AS {definition} AND net_weight < 300".encode())
    lines.execute("UPDATE stg.shogun_final_receive SET item_name = 'x'")
    with lines.transaction():
        update_rollup(lines, rollup(by_item))
    assert scalar(lines, f"SELECT sum(kg) FROM {rollup(by_item).stored}") == sum(range(1, 300))

    migrate(database, by_item)

    assert scalar(lines, f"SELECT sum(kg) FROM {NAME}") == sum(range(1, 601))
    assert scalar(lines, f"SELECT sum(kg) FROM {rollup(by_item).stored}") == sum(range(1, 601))


def test_a_removed_file_leaves_no_table_and_no_entry_that_the_change_log_waits_for(
    database: Database, lines: Connection, catalog: Catalog, by_item: Catalog
) -> None:
    migrate(database, by_item)

    assert NAME in migrate(database, catalog).dropped

    assert stored_tables(lines) == set()
    lines.execute("DELETE FROM stg.shogun_final_receive WHERE slip_date = '2025-01-01'")
    for other in catalog.rollups:
        with lines.transaction():
            update_rollup(lines, other)
    lines.execute("UPDATE log.view_refresh SET snapshot = '9999999999:9999999999:'")
    prune_change_log(lines)
    assert scalar(lines, "SELECT count(*) FROM log.change_note") == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            QUERY.replace("count(*)", "cont(*)"),
            r"mart.rollup_item, line 1: function cont\(\) does not exist|cont\(\*\)",
        ),
        (QUERY.replace("slip_date AS ddate", "slip_date::timestamp AS ddate"), "the day, ddate, is timestamp"),
        (QUERY.replace("item_cd AS item", "nullif(item_cd, 0) AS item"), r"\(ddate, item\) doesn't identify its rows"),
    ],
)
def test_what_cant_be_stored_is_said_and_nothing_is_changed(
    database: Database, lines: Connection, by_item: Catalog, text: str, sentence: str
) -> None:
    with pytest.raises(Exception, match=sentence) as caught:
        migrate(database, edited(by_item, NAME, text))

    assert isinstance(caught.value, MigrateError) or "key" in str(caught.value)
    assert scalar(lines, "SELECT to_regclass(%s)", [NAME]) is None
    migrate(database, by_item)
    assert compare_rollup(lines, rollup(by_item)).rows == 0
    assert scalar(lines, f"SELECT min(ddate) FROM {NAME}") == date(2025, 1, 1)


def test_what_an_interrupted_fill_has_left_is_dropped_when_its_file_is_taken_back(
    database: Database, lines: Connection, by_item: Catalog, heavier: Catalog
) -> None:
    migrate(database, by_item)
    with lines.transaction():
        stored.create_stored(lines, rollup(heavier), HEAVIER)

    assert [step.what for step in plan(database, by_item).steps] == [f"drop {rollup(heavier).stored}"]

    migrate(database, by_item)
    assert stored_tables(lines) == {rollup(by_item).stored}
    assert plan(database, by_item).steps == []


def test_a_table_that_others_need_stays_right_and_keeps_no_change_log(
    database: Database, lines: Connection, by_item: Catalog, catalog: Catalog
) -> None:
    migrate(database, by_item)
    lines.execute(f"CREATE VIEW public.v_others AS SELECT sum(kg) AS kg FROM {NAME}".encode())

    assert NAME in migrate(database, catalog).kept

    assert plan(database, catalog).steps == []
    assert scalar(lines, "SELECT inputs FROM log.rollup WHERE stored = %s", [rollup(by_item).stored]) == []
    lines.execute("UPDATE stg.shogun_final_receive SET net_weight = 1")
    assert scalar(lines, "SELECT kg FROM public.v_others") == 600


def test_the_old_rollup_that_others_read_stays_and_is_named(database: Database, catalog: Catalog) -> None:
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA mv_pipeline_old_mart")
        old = "mv_pipeline_old_mart.rollup_daily"
        connection.execute(f"CREATE TABLE {old} (csv_type text) PARTITION BY LIST (csv_type)".encode())
        connection.execute(f"CREATE TABLE {old}_receive PARTITION OF {old} FOR VALUES IN ('receive')".encode())
        connection.execute(f"CREATE VIEW public.v_others AS SELECT * FROM {old}_receive".encode())

        kept = migrate(database, having(catalog, Relation(NAME, HEADER, QUERY))).kept

        assert {*kept.values()} == {"public.v_others needs it"}
        connection.execute("DROP VIEW public.v_others")
        migrate(database, catalog)
        assert scalar(connection, "SELECT to_regnamespace('mv_pipeline_old_mart')") is None
