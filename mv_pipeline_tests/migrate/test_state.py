"""What becomes of each relation: the pure decision, and the same on a real database."""

from dataclasses import replace

import pytest

from mv_pipeline.catalog.relations import Catalog, Header, Relation
from mv_pipeline.migrate.migrate import MigrateError, migrate, plan
from mv_pipeline.migrate.state import Decision, Existing, changes, decide

HEADER = Header(description="試験", description_en="A test.", owner="team:data-platform")
A = Relation("mart.v_a", HEADER, "SELECT ddate FROM ref.calendar_day")
B = Relation("mart.v_b", HEADER, "SELECT ddate FROM mart.v_a")
C = Relation("mart.v_c", HEADER, "SELECT ddate FROM ref.holiday_jp AS h, ref.calendar_day")
CATALOG = Catalog([A, B, C])


def existing(*relations: Relation, as_file: bool = True) -> dict[str, Existing]:
    return {relation.name: Existing(relation.definition_hash, as_file) for relation in relations}


def test_what_is_missing_is_created():
    assert decide(CATALOG, {}) == dict.fromkeys(CATALOG.relations, Decision("create", "it is missing"))


def test_what_is_as_its_file_says_is_kept():
    assert changes(decide(CATALOG, existing(A, B, C))) == {}


def test_what_changed_is_swapped_with_what_reads_it():
    changed = {**existing(A, B, C), A.name: Existing("another", False)}

    assert changes(decide(CATALOG, changed)) == {
        "mart.v_a": Decision("swap", "its file has changed"),
        "mart.v_b": Decision("swap", "it reads mart.v_a"),
    }


def test_what_somebody_changed_by_hand_is_swapped():
    by_hand = {**existing(A, B), **existing(C, as_file=False)}

    assert changes(decide(CATALOG, by_hand)) == {
        "mart.v_c": Decision("swap", "somebody has changed it in the database by hand")
    }


def test_what_others_made_is_swapped_unless_it_is_what_the_file_says():
    theirs = {B.name: Existing(None, True), C.name: Existing(None, False)}

    assert changes(decide(CATALOG, {**existing(A), **theirs})) == {
        "mart.v_b": Decision("adopt", "it exists as its file says, which isn't recorded"),
        "mart.v_c": Decision("swap", "others have made it, with another definition"),
    }


def test_a_file_written_in_another_way_for_the_same_definition_is_only_recorded():
    rewritten = {**existing(A, B), C.name: Existing("another", True)}

    assert changes(decide(CATALOG, rewritten)) == {
        "mart.v_c": Decision("adopt", "it exists as its file says, which isn't recorded")
    }


def edited(catalog: Catalog, name: str, query: str) -> Catalog:
    relation = replace(catalog.relations[name], query=query)
    return Catalog([*(other for other in catalog.relations.values() if other.name != name), relation])


def test_a_changed_file_is_rebuilt_in_the_database_and_only_once(database, connection, catalog):
    changed = edited(catalog, "ref.v_customer", "SELECT 'x' AS customer_id FROM mart.v_sales_tree_detail_base")

    first, second = migrate(database, changed), migrate(database, changed)

    assert (first.changed, second.changed) == ({"ref.v_customer": "swap"}, {})
    columns = connection.execute("SELECT * FROM ref.v_customer").description
    assert columns
    assert [column.name for column in columns] == ["customer_id"]


def test_a_removed_file_drops_its_relation(database, connection, catalog):
    without = Catalog([relation for relation in catalog.relations.values() if relation.name != "ref.v_customer"])

    assert migrate(database, without).dropped == ["ref.v_customer"]
    assert connection.execute("SELECT to_regclass('ref.v_customer')").fetchone() == (None,)


def test_a_definition_that_fails_changes_nothing(database, connection, catalog):
    before = connection.execute("SELECT name, definition_hash FROM log.relation ORDER BY name").fetchall()
    query = catalog.relations["mart.mv_receive_daily"].query.replace("    c.y,\n", "    c.y / 0 AS y,\n")
    wrong = edited(catalog, "mart.mv_receive_daily", query)

    with pytest.raises(MigrateError, match=r"The views are as they were: mart\.mv_receive_daily: division by zero"):
        migrate(database, wrong)

    assert connection.execute("SELECT name, definition_hash FROM log.relation ORDER BY name").fetchall() == before
    assert connection.execute("SELECT count(*) FROM mart.mv_receive_daily").fetchone() == (1805,)


def described(catalog: Catalog, name: str, **header: object) -> Catalog:
    relation = catalog.relations[name]
    changed = replace(relation, header=relation.header.model_copy(update=header))
    return Catalog([*(other for other in catalog.relations.values() if other.name != name), changed])


def comment(connection, name):
    return connection.execute("SELECT obj_description(%s::regclass)", [name]).fetchone()[0]


def test_an_edited_description_becomes_the_comment_without_a_swap(database, connection, catalog):
    changed = described(catalog, "mart.v_receive_daily", description_en="Another text.")

    steps = plan(database, changed).steps
    migration = migrate(database, changed)

    assert [step.why for step in steps] == ["its file's description has changed"]
    assert migration.changed == {}
    assert comment(connection, "mart.v_receive_daily").endswith("\nAnother text.")
    assert plan(database, changed).steps == []


def test_a_comment_that_others_have_written_stays_whatever_the_file_says(database, connection, catalog):
    connection.execute("COMMENT ON VIEW mart.v_receive_daily IS 'Read by the board.'")
    changed = described(catalog, "mart.v_receive_daily", description_en="Another text.")
    changed = edited(changed, "mart.v_receive_daily", catalog.relations["mart.v_receive_daily"].query + "\nWHERE true")

    migrate(database, changed)

    assert comment(connection, "mart.v_receive_daily") == "Read by the board."


def test_an_index_that_the_header_names_no_more_goes(database, connection, catalog):
    changed = described(catalog, "mart.mv_receive_daily", indexes=())

    migrate(database, changed)

    names = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'mv_receive_daily'").fetchall()
    assert names == [("mv_receive_daily_key",)]
