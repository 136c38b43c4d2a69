"""What is incompatible is said in one sentence each before anything is touched; what is odd is remarked and taken."""

import re
from dataclasses import replace

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.migrate.migrate import MigrateError, migrate, plan
from mv_pipeline_tests.migrate.adopt import observed

# What somebody did to the running database, and the words that the sentence about it has to hold.
INCOMPATIBILITIES = {
    "a column of another type": (
        "ALTER TABLE kpi.monthly_targets ALTER unit TYPE varchar(10)",
        ["kpi.monthly_targets", "unit", "character varying(10)", "text"],
    ),
    "a column of another length": (
        "ALTER TABLE log.upload_file ALTER uploaded_by TYPE varchar(200)",
        ["log.upload_file", "uploaded_by", "character varying(200)", "character varying(100)"],
    ),
    "a missing column": (
        "ALTER TABLE raw.shogun_final_receive DROP COLUMN manifest_no",
        ["raw.shogun_final_receive", "manifest_no"],
    ),
    "an additional column that has to be filled": (
        "ALTER TABLE stg.shogun_flash_yard ADD plant_cd integer NOT NULL DEFAULT 1; "
        "ALTER TABLE stg.shogun_flash_yard ALTER plant_cd DROP DEFAULT",
        ["stg.shogun_flash_yard", "plant_cd"],
    ),
    "a day that is a holiday twice": (
        "INSERT INTO ref.holiday_jp VALUES ('2025-01-01', '元日')",
        ["ref.holiday_jp", "hdate", "2025-01-01"],
    ),
    "an id that two lines have": (
        "INSERT INTO stg.shogun_flash_shipment (id, slip_date) "
        "SELECT id, slip_date FROM stg.shogun_flash_shipment ORDER BY id LIMIT 1",
        ["stg.shogun_flash_shipment", "id"],
    ),
    "a table where a view of ours belongs": (
        "CREATE TABLE mart.v_target_card_per_day (ddate date)",
        ["mart.v_target_card_per_day", "table", "view"],
    ),
    "a view where a materialized view of ours belongs": (
        "CREATE VIEW mart.mv_yard_daily AS SELECT 1 AS x",
        ["mart.mv_yard_daily", "view", "materialized view"],
    ),
    "a view where a table of ours belongs": (
        "ALTER TABLE ref.closure_membership RENAME TO old_membership; "
        "CREATE VIEW ref.closure_membership AS SELECT * FROM ref.old_membership",
        ["ref.closure_membership", "view", "table"],
    ),
    "a view of others that reads a column which goes": (
        "DROP VIEW ref.v_sales_rep; "
        "CREATE VIEW ref.v_sales_rep AS "
        "SELECT DISTINCT rep_id, rep_name, 1 AS rank FROM mart.v_sales_tree_detail_base; "
        "CREATE VIEW bi.v_rank AS SELECT rep_id, rank FROM ref.v_sales_rep",
        ["ref.v_sales_rep", "bi.v_rank", "rank"],
    ),
}


def refused(database: Database, catalog: Catalog) -> tuple[str, ...]:
    with pytest.raises(MigrateError) as caught:
        migrate(database, catalog)
    error = caught.value
    assert all(problem in str(error).splitlines() for problem in error.problems)
    return error.problems


def says(problem: str, words: list[str]) -> bool:
    """True if the sentence holds every word, each as a word of its own."""
    return all(re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", problem) for word in words)


@pytest.mark.parametrize("incompatibility", INCOMPATIBILITIES)
def test_what_is_incompatible_is_refused_in_one_sentence_and_nothing_is_touched(
    incompatibility: str, database: Database, connection: Connection, catalog: Catalog
) -> None:
    statements, words = INCOMPATIBILITIES[incompatibility]
    connection.execute(statements)
    before = observed.snapshot(connection)

    (problem,) = refused(database, catalog)

    assert says(problem, words), problem
    assert problem.endswith(".")
    assert observed.snapshot(connection) == before


@pytest.mark.moved
@pytest.mark.parametrize("instead", ["", "coalesce(s.line_count, 0)::text AS line_count,"])
def test_a_change_that_a_view_of_others_can_not_follow_is_refused_with_its_name(
    instead: str, database: Database, connection: Connection, catalog: Catalog
) -> None:
    connection.execute("CREATE VIEW bi.v_yard AS SELECT sum(line_count) AS lines FROM mart.mv_yard_daily")
    before = observed.snapshot(connection)
    view = catalog.relations["mart.mv_yard_daily"]
    column = "coalesce(s.line_count, 0)::integer AS line_count,"
    assert column in view.query
    changed = replace(view, query=view.query.replace(column, instead))

    (problem,) = refused(database, Catalog([*(r for r in catalog.relations.values() if r.name != view.name), changed]))

    assert says(problem, ["mart.mv_yard_daily", "line_count", "bi.v_yard"]), problem
    assert observed.snapshot(connection) == before


def test_several_incompatibilities_are_all_said_at_once(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    several = [
        "a column of another type",
        "a missing column",
        "a day that is a holiday twice",
        "a table where a view of ours belongs",
        "a view of others that reads a column which goes",
    ]
    for incompatibility in several:
        connection.execute(INCOMPATIBILITIES[incompatibility][0])
    before = observed.snapshot(connection)

    problems = refused(database, catalog)

    assert len(problems) == len(several)
    for incompatibility in several:
        assert sum(says(problem, INCOMPATIBILITIES[incompatibility][1]) for problem in problems) == 1, incompatibility
    assert observed.snapshot(connection) == before


def test_the_plan_refuses_what_migrating_would(database: Database, connection: Connection, catalog: Catalog) -> None:
    statements, words = INCOMPATIBILITIES["a column of another type"]
    connection.execute(statements)

    with pytest.raises(MigrateError) as caught:
        plan(database, catalog)

    (problem,) = caught.value.problems
    assert says(problem, words), problem


def test_an_additional_column_that_needs_no_value_is_compatible(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    connection.execute("ALTER TABLE stg.shogun_flash_yard ADD checked_by text, ADD rank integer NOT NULL DEFAULT 0")

    migrate(database, catalog)

    assert observed.rows(connection, "SELECT DISTINCT checked_by, rank FROM stg.shogun_flash_yard") == [(None, 0)]


def test_days_with_several_plans_and_king_dates_that_are_none_are_remarked_and_taken(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    ((days,),) = observed.rows(
        connection,
        "SELECT count(*) FROM (SELECT FROM mart.daily_target_plan GROUP BY ddate::date HAVING count(*) > 1) AS d",
    )
    ((texts,),) = observed.rows(
        connection,
        "SELECT count(*) FROM stg.receive_king_final WHERE invoice_date IS NOT NULL AND NOT ("
        "invoice_date ~ '^\\d{4}([-/])\\d{2}\\1\\d{2}$' AND pg_input_is_valid(invoice_date, 'date'))",
    )

    remarks = plan(database, catalog).remarks

    (about_plans,) = [remark for remark in remarks if "mart.daily_target_plan" in remark]
    (about_king,) = [remark for remark in remarks if "stg.receive_king_final" in remark]
    assert says(about_plans.replace(",", ""), [str(days), "created_at"]), about_plans
    assert re.search(rf"\b{texts}\b", about_king.replace(",", "")), about_king
    migrate(database, catalog)


def test_a_database_without_oddities_has_no_remarks(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    connection.execute("TRUNCATE mart.daily_target_plan, stg.receive_king_final")

    assert plan(database, catalog).remarks == []
