"""What becomes of each relation: the pure decision, and the same on a real database."""

from dataclasses import replace

import pytest

from mv_pipeline.catalog.relations import Catalog, Header, Relation
from mv_pipeline.schema.migrate import MigrateError, migrate
from mv_pipeline.schema.relations import Existing, decide

HEADER = Header(description="試験", description_en="A test.", owner="team:data-platform")
A = Relation("mart.v_a", HEADER, "SELECT ddate FROM ref.calendar_day")
B = Relation("mart.v_b", HEADER, "SELECT ddate FROM mart.v_a")
C = Relation("mart.v_c", HEADER, "SELECT ddate FROM ref.holiday_jp AS h, ref.calendar_day")
CATALOG = Catalog([A, B, C])


def standing(*relations: Relation) -> dict[str, Existing]:
    return {relation.name: Existing(relation.kind, relation.definition_hash) for relation in relations}


def test_what_is_missing_is_created():
    assert decide(CATALOG, {}, []).actions == {"mart.v_a": "create", "mart.v_b": "create", "mart.v_c": "create"}


def test_what_stands_as_its_file_says_is_kept():
    plan = decide(CATALOG, standing(A, B, C), [])

    assert (plan.changes, plan.drops) == ({}, [])


def test_what_changed_is_rebuilt_with_what_reads_it_and_dropped_in_reverse_order():
    changed = {**standing(A, B, C), A.name: Existing("view", "another")}

    plan = decide(CATALOG, changed, [])

    assert plan.changes == {"mart.v_a": "rebuild", "mart.v_b": "rebuild"}
    assert plan.drops == ["mart.v_b", "mart.v_a"]


def test_what_others_made_is_rebuilt():
    plan = decide(CATALOG, {**standing(A, B), C.name: Existing("view", None)}, [])

    assert plan.changes == {"mart.v_c": "rebuild"}


def test_what_has_no_file_any_more_is_dropped_first():
    assert decide(CATALOG, standing(A, B, C), ["mart.v_old"]).drops == ["mart.v_old"]


def edited(catalog: Catalog, name: str, query: str) -> Catalog:
    relation = replace(catalog.relations[name], query=query)
    return Catalog([*(other for other in catalog.relations.values() if other.name != name), relation])


def test_a_changed_file_is_rebuilt_in_the_database_and_only_once(database, connection, catalog):
    changed = edited(catalog, "ref.v_customer", "SELECT 'x' AS customer_id FROM mart.v_sales_tree_detail_base")

    first, second = migrate(database, changed), migrate(database, changed)

    assert (first.changed, second.changed) == ({"ref.v_customer": "rebuild"}, {})
    columns = connection.execute("SELECT * FROM ref.v_customer").description
    assert columns
    assert [column.name for column in columns] == ["customer_id"]


def test_a_removed_file_drops_its_relation(database, connection, catalog):
    without = Catalog([relation for relation in catalog.relations.values() if relation.name != "ref.v_customer"])

    assert migrate(database, without).dropped == ["ref.v_customer"]
    assert connection.execute("SELECT to_regclass('ref.v_customer')").fetchone() == (None,)


def test_a_definition_that_fails_changes_nothing(database, connection, catalog):
    before = connection.execute("SELECT name, definition_hash FROM log.relation ORDER BY name").fetchall()
    wrong = edited(
        catalog, "mart.mv_receive_daily", "SELECT ddate, 1 / 0 AS y, 1 AS iso_year, 1 AS iso_week FROM ref.calendar_day"
    )

    with pytest.raises(MigrateError, match="Nothing was changed: division by zero"):
        migrate(database, wrong)

    assert connection.execute("SELECT name, definition_hash FROM log.relation ORDER BY name").fetchall() == before
    assert connection.execute("SELECT count(*) FROM mart.mv_receive_daily").fetchone() == (1805,)
