"""What nobody needs any more is dropped, unless somebody outside still reads it: then it stays and is named."""

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.migrate.migrate import migrate, plan
from mv_pipeline_tests.migrate.adopt import observed, running_database
from mv_pipeline_tests.migrate.adopt.running_database import OBSOLETE, OBSOLETE_FUNCTION

MATERIALIZED, VIEW = OBSOLETE


def is_there(connection: Connection, name: str) -> bool:
    reader = "to_regprocedure" if name.endswith(")") else "to_regclass"
    return bool(scalar(connection, f"SELECT {reader}(%s) IS NOT NULL", [name]))


def test_what_is_obsolete_is_dropped_and_said(database: Database, connection: Connection, catalog: Catalog) -> None:
    customers = observed.all_rows(connection, "mart.v_customer_sales_daily")

    migration = migrate(database, catalog)

    for name in (*OBSOLETE, OBSOLETE_FUNCTION):
        assert not is_there(connection, name), name
        assert name in migration.dropped
    assert migration.kept == {}
    assert observed.all_rows(connection, "mart.v_customer_sales_daily") == customers


def test_a_view_that_somebody_reads_stays_and_is_named(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    running_database.add_view_on_an_obsolete_view(connection)
    rows, rights = observed.rows(connection, "TABLE bi.v_sales_tree ORDER BY 1"), observed.rights(connection)

    migration = migrate(database, catalog)

    assert migration.kept.keys() == {VIEW}
    assert "bi.v_sales_tree" in migration.kept[VIEW]
    assert not is_there(connection, MATERIALIZED)
    assert not is_there(connection, OBSOLETE_FUNCTION)
    assert observed.rows(connection, "TABLE bi.v_sales_tree ORDER BY 1") == rows
    assert [r for r in rights if r[0] == VIEW] == [r for r in observed.rights(connection) if r[0] == VIEW]


def test_what_a_kept_view_reads_is_kept_with_it(database: Database, connection: Connection, catalog: Catalog) -> None:
    running_database.add_view_on_the_obsolete_materialized_view(connection)

    migration = migrate(database, catalog)

    assert migration.kept.keys() == set(OBSOLETE)
    assert "bi.v_sales_days" in migration.kept[MATERIALIZED]
    assert observed.count_rows(connection, "bi.v_sales_days") > 0
    assert observed.count_rows(connection, MATERIALIZED) > 0


def test_a_kept_view_keeps_nobody_from_being_done(database: Database, connection: Connection, catalog: Catalog) -> None:
    running_database.add_view_on_an_obsolete_view(connection)
    migrate(database, catalog)

    assert plan(database, catalog).steps == []
    assert migrate(database, catalog).kept.keys() == {VIEW}


def test_a_kept_view_goes_as_soon_as_nobody_reads_it(
    database: Database, connection: Connection, catalog: Catalog
) -> None:
    running_database.add_view_on_an_obsolete_view(connection)
    migrate(database, catalog)
    connection.execute("DROP VIEW bi.v_sales_tree")

    migration = migrate(database, catalog)

    assert (migration.dropped, migration.kept) == ([VIEW], {})
    assert not is_there(connection, VIEW)
