"""`migrate` on an empty database, again, and on a server that is too old."""

import re
from collections import Counter
from unittest.mock import PropertyMock, patch

import psycopg
import pytest

from mv_pipeline.migrate.migrate import MigrateError, migrate, plan
from mv_pipeline.migrate.revise import REVISIONS
from mv_pipeline_tests.conftest import NEWEST_REVISION
from mv_pipeline_tests.readers import query, reading


def schemas(database):
    with database.connect() as connection:
        return {
            row[0]
            for row in connection.execute(
                "SELECT nspname FROM pg_namespace "
                "WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')"
            )
        }


def test_an_empty_database_gets_everything(empty_database, catalog):
    result = migrate(empty_database, catalog)

    assert schemas(empty_database) == {"raw", "stg", "ref", "kpi", "mart", "rollup", "log"}
    assert Counter(result.changed.values()) == {"create": len(catalog.relations)}
    # 2021-01-01 to the end of the year after 2025.
    assert result.reference["ref.calendar_day"] == 2191


def test_a_second_time_nothing_is_done(empty_database, catalog):
    migrate(empty_database, catalog)

    again = migrate(empty_database, catalog)

    assert (again.changed, again.dropped, again.reference) == ({}, [], {})
    assert again.revision_before == again.revision_after == NEWEST_REVISION


def test_the_plan_of_an_up_to_date_database_has_no_step(database, catalog):
    found = plan(database, catalog)

    assert (found.steps, found.remarks) == ([], [])


def test_the_plan_of_an_empty_database_creates_everything_and_leaves_nothing(empty_database, catalog):
    found = plan(empty_database, catalog)

    whats = [step.what for step in found.steps]
    filled = {f"fill the rollup {rollup.name} in parts, then put it in its place" for rollup in catalog.rollups}
    views = [*catalog.views, *catalog.materialized_views]
    assert {*filled, *(f"create the {view.kind} {view.name}" for view in views)} <= {*whats}
    assert {step.lock for step in found.steps} == {""}
    assert schemas(empty_database) == set()


def test_materialized_views_are_populated_indexed_and_fresh(connection, catalog):
    for view in catalog.materialized_views:
        populated, unique = connection.execute(
            "SELECT relispopulated, EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique) "
            "FROM pg_class AS c WHERE oid = %s::regclass",
            [view.name],
        ).fetchone()
        assert populated, view.name
        assert unique, view.name


def test_every_relation_carries_its_description(connection, catalog):
    for relation in catalog.relations.values():
        comment = connection.execute("SELECT obj_description(%s::regclass)", [relation.name]).fetchone()
        assert comment == (f"{relation.header.description}\n{relation.header.description_en}",)


def test_the_version_table_leaves_another_softwares_alone(empty_database, catalog):
    with empty_database.connect() as connection:
        connection.execute("CREATE TABLE public.alembic_version AS SELECT 'theirs' AS version_num")

    migrate(empty_database, catalog)

    with empty_database.connect() as connection:
        assert connection.execute("SELECT version_num FROM public.alembic_version").fetchall() == [("theirs",)]
        assert connection.execute("SELECT version_num FROM log.mv_pipeline_version").fetchall() == [(NEWEST_REVISION,)]


def test_an_old_server_is_refused_before_anything_is_touched(empty_database, catalog):
    with (
        patch.object(psycopg.ConnectionInfo, "server_version", PropertyMock(return_value=150018)),
        pytest.raises(MigrateError, match="PostgreSQL 15; 16 or later is needed"),
    ):
        migrate(empty_database, catalog)

    assert schemas(empty_database) == set()


def test_rows_that_were_there_before_the_triggers_are_rolled_up(database, connection, catalog):
    connection.execute("DROP TRIGGER mv_pipeline_note_truncate ON stg.shogun_final_yard")
    connection.execute("DROP TRIGGER mv_pipeline_note_insert ON stg.shogun_final_yard")
    connection.execute("DROP TRIGGER mv_pipeline_note_update ON stg.shogun_final_yard")
    connection.execute("DROP TRIGGER mv_pipeline_note_delete ON stg.shogun_final_yard")
    connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight, slip_no) VALUES ('2025-12-01', 5, 1)")

    migrate(database, catalog)

    rows = connection.execute("SELECT source, ddate::text, net_weight_kg FROM mart.v_yard_source").fetchall()
    assert rows == [("shogun_final", "2025-12-01", 5)]


def test_a_revision_replaces_what_readers_use_and_gives_the_same_rows(database, connection):
    before_it, revision = (
        (REVISIONS / "versions" / f"{name}.sql").read_text(encoding="utf-8")
        for name in ("0009_rollups", "0011_view_news")
    )
    connection.execute("DROP VIEW log.v_view_status, log.v_view_news")
    for pattern in (
        r"VIEW log.v_rollup_news AS\n.*?;\n",
        r"VIEW log.v_view_status AS\n.*?;\n",
        r"FUNCTION log.take_over.*?\$body\$;\n",
    ):
        (text,) = re.findall(pattern, before_it, re.DOTALL)
        connection.execute(f"CREATE OR REPLACE {text}")
    connection.execute("DROP VIEW log.v_server")
    connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5)")
    tables = ("log.v_rollup_news", "log.v_view_status", "mart.rollup_shogun_final_yard")
    # The revision may add columns.
    columns = {
        table: ", ".join(column.name for column in connection.execute(f"SELECT * FROM {table}").description)
        for table in tables
    }

    def rows(*, counted_here):
        with connection.transaction(force_rollback=True):
            if not counted_here:
                connection.execute("UPDATE log.server SET system_identifier = 1")
            return [
                connection.execute(f"SELECT {columns[table]} FROM {table} ORDER BY 1, 2, 3").fetchall()
                for table in tables
            ]

    before = rows(counted_here=True), rows(counted_here=False)
    with reading(
        database.url, {"yard": query("SELECT ddate::text, net_weight_kg FROM mart.v_yard_source")}
    ) as readings:
        with connection.transaction():
            connection.execute(revision)
        readings.more()

    assert (rows(counted_here=True), rows(counted_here=False)) == before
    assert before[0] != before[1]
    assert {*readings.results["yard"]} == {(("2025-12-01", 5),)}
