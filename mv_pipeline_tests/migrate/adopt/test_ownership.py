"""Whoever moves in has to be able to act for those who own what is there; our roles needn't be."""

import re
from collections.abc import Iterator

import pytest
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.migrate.migrate import MigrateError, migrate, plan
from mv_pipeline.migrate.roles import OWNER, PIPELINE, SCHEMAS, has_maintain
from mv_pipeline_tests.migrate.adopt import observed, running_database
from mv_pipeline_tests.migrate.adopt.running_database import ANALYST, DASHBOARD
from mv_pipeline_tests.migrate.test_state import edited

VIEW = "mart.mv_receive_daily"
MOVER = "mover"


@pytest.fixture
def mover(database: Database, connection: Connection) -> Iterator[Database]:
    """The database as a role without rights in it."""
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(MOVER)))
    yield Database(url=database.url.replace("postgres@", f"{MOVER}@"))
    connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(MOVER)))


@pytest.fixture
def another(catalog: Catalog) -> Catalog:
    """The catalogue with another definition of the view that others read."""
    return edited(catalog, VIEW, catalog.relations[VIEW].query + "\n    AND c.ddate > '2020-01-01'")


def test_what_belongs_to_others_is_said_before_anything_is_touched(
    database: Database, connection: Connection, mover: Database, catalog: Catalog
) -> None:
    connection.execute(
        sql.SQL("GRANT CREATE, TEMPORARY ON DATABASE {} TO {}").format(
            sql.Identifier(connection.info.dbname), sql.Identifier(MOVER)
        )
    )
    migrate(database, catalog)
    for schema in SCHEMAS:
        connection.execute(
            sql.SQL("GRANT ALL ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(MOVER))
        )
        connection.execute(
            sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(MOVER))
        )
    name = "mart.v_receive_weekly"
    changed = edited(catalog, name, catalog.relations[name].query.replace("sum(", "1 * sum(", 1))
    before = observed.snapshot(connection)

    with pytest.raises(MigrateError) as caught:
        migrate(mover, changed)

    assert caught.value.problems == (
        f"{name} belongs to {ANALYST}, and {MOVER} may not act as it. "
        f"GRANT {ANALYST} TO {MOVER}, or run `mv-pipeline migrate` as another role.",
    )
    assert observed.snapshot(connection) == before


@pytest.mark.parametrize("materialized", [False, True])
def test_with_roles_of_ours_what_others_have_made_of_a_view_follows_each_swap(
    database: Database, connection: Connection, catalog: Catalog, another: Catalog, materialized: bool
) -> None:
    connection.execute(sql.SQL("ALTER VIEW bi.v_receive_report OWNER TO {}").format(sql.Identifier(ANALYST)))
    connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA mart TO {}").format(sql.Identifier(ANALYST)))
    if materialized:
        running_database.add_materialized_view(connection)
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA bi TO {}").format(sql.Identifier(ANALYST)))
        connection.execute(sql.SQL("ALTER MATERIALIZED VIEW bi.mv_year OWNER TO {}").format(sql.Identifier(ANALYST)))
    names = ["bi.v_receive_report", *(["bi.mv_year"] if materialized else [])]

    migrate(database, catalog, with_roles=True)
    rows = [observed.rows(connection, f"SELECT * FROM {name} ORDER BY 1") for name in names]
    migration = migrate(database, another)

    assert migration.changed[VIEW] == "swap"
    assert [observed.rows(connection, f"SELECT * FROM {name} ORDER BY 1") for name in names] == rows
    owners = observed.rows(
        connection,
        "SELECT oid::regclass::text, relowner::regrole::text FROM pg_class "
        "WHERE oid IN ('bi.v_receive_report'::regclass, to_regclass('bi.mv_year'), 'mart.mv_receive_daily'::regclass) "
        "ORDER BY 1",
    )
    # Without MAINTAIN, which came with PostgreSQL 17, whoever refreshes a view has to own it.
    ours = OWNER if has_maintain(connection) else PIPELINE
    assert owners == [*((name, ANALYST) for name in sorted(names)), (VIEW, ours)]
    assert observed.rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname ^@ 'mv_pipeline'") == []
    assert plan(database, another).steps == []
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(DASHBOARD)))
    assert observed.count_rows(connection, VIEW) > 0


def test_a_function_of_others_that_is_replaced_is_said(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    connection.execute("CREATE FUNCTION ref.business_date() RETURNS date LANGUAGE sql AS 'SELECT current_date'")

    remarks = plan(database, catalog).remarks

    assert any(re.match(r"ref\.business_date\(\) exists already", remark) for remark in remarks)
