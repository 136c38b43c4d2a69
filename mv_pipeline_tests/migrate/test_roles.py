"""The roles: the pipeline does its work, dashboards are read, and neither role can do more."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from unittest.mock import PropertyMock, patch

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, find_kind
from mv_pipeline.catalog.relations import Catalog, Header, Relation
from mv_pipeline.checks.recompute import prove_rollup, prove_view
from mv_pipeline.cli.services import check_migrated
from mv_pipeline.cli.session import CommandError
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.sensors import ingest_request
from mv_pipeline.intake.backfill import derive_days
from mv_pipeline.migrate import roles
from mv_pipeline.migrate.migrate import MigrateError, migrate
from mv_pipeline.migrate.roles import OWNER, PIPELINE, READER, SCHEMAS, Changes, RolesError, wanted_privileges
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.rollup import owe_days
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline.settings import Settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import create_database, database_name, drop_database, use
from mv_pipeline_tests.factory import csv_text, drop, line, roll_up, take

KIND, ROLLUP = "shogun_final_receive", "mart.rollup_shogun_final_receive"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
USERS = {"ms_owner": OWNER, "ms_pipeline": PIPELINE, "ms_reader": READER}
D1 = date(2025, 12, 1)
SEVENTEEN = 170000
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def handed_over(server, template, catalog):
    """The name of a database that was migrated before there were roles, and then handed over."""
    url = create_database(server, template)
    migrate(Database(url=url), catalog, with_roles=True)
    yield database_name(url)
    drop_database(server, url)


@pytest.fixture
def settings(server, handed_over, tmp_path, monkeypatch):
    """A home and a database of the test's own that has been handed over; the environment names both."""
    url = create_database(server, handed_over)
    with psycopg.connect(url, autocommit=True) as connection:
        roles.prepare(connection)  # a copy is without the rights on the database itself
    yield use(Settings(home=tmp_path, database_url=url, settle_seconds=0), monkeypatch)
    drop_database(server, url)


@pytest.fixture
def user(database, settings) -> Iterator:
    """Log in as a member of a role; the password does not matter, because the socket trusts."""
    with database.connect() as connection:
        for name, role in USERS.items():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(sql.Identifier(name), sql.Identifier(role))
            )

    yield lambda name: Database(url=settings.resolved_database_url().replace("postgres@", f"{name}@"))
    with database.connect() as connection:
        for name in USERS:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def pipeline(user, monkeypatch):
    """The database as the pipeline's user sees it; the environment names it so too."""
    database = user("ms_pipeline")
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", database.url)
    return database


@pytest.fixture
def run(pipeline, instance, catalog, definitions):

    def run_job(name, files=(), **options):
        job = definitions.resolve_job_def(name)
        if files:
            request = ingest_request(catalog, list(files), "test")
            job = job.get_subset(asset_selection=set(request.asset_selection))
            options = {"run_config": request.run_config}
        config = {**options.pop("run_config", {}), **QUIET}
        return job.execute_in_process(instance=instance, raise_on_error=False, run_config=config, **options)

    return run_job


def relations_in(connection, schemas, kinds):
    return [
        row[0]
        for row in connection.execute(
            "SELECT n.nspname || '.' || relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
            "WHERE n.nspname = ANY (%s) AND relkind = ANY (%s) ORDER BY 1",
            [list(schemas), list(kinds)],
        )
    ]


def foreign_objects(connection):
    """What in our schemas doesn't belong to the owner role: schemas, relations, functions."""
    return [
        row[0]
        for row in connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s) AND nspowner <> %(owner)s::regrole "
            "UNION ALL SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) "
            "AND relowner <> %(owner)s::regrole "
            "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text = ANY (%(schemas)s) "
            "AND proowner <> %(owner)s::regrole",
            {"schemas": list(SCHEMAS), "owner": OWNER},
        )
    ]


def left_to_the_pipeline(connection):
    """What belongs to the pipeline by design: before PostgreSQL 17 only the owner of a view can refresh it."""
    if connection.info.server_version >= SEVENTEEN:
        return []
    rows = connection.execute(
        "SELECT c.relname FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid "
        "JOIN pg_class AS m ON m.oid = coalesce(i.indrelid, c.oid) "
        "WHERE m.relkind = 'm' AND m.relnamespace::regnamespace::text = ANY (%s)",
        [list(SCHEMAS)],
    )
    return [row[0] for row in rows]


def tons(database, day):
    with database.connect() as connection:
        query = "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = %s"
        return connection.execute(query, [day]).fetchone()[0]


def edited(catalog: Catalog, name: str, query: str) -> Catalog:
    relation = replace(catalog.relations[name], query=query)
    return Catalog([*(other for other in catalog.relations.values() if other.name != name), relation])


# Who owns what, and that it stays so


def test_everything_in_the_schemas_is_handed_over(database):
    with database.connect() as connection:
        assert sorted(foreign_objects(connection)) == sorted(left_to_the_pipeline(connection))


def test_an_empty_database_is_the_owners_from_the_start(empty_database, catalog):
    migrate(empty_database, catalog, with_roles=True)

    with empty_database.connect() as connection:
        assert sorted(foreign_objects(connection)) == sorted(left_to_the_pipeline(connection))


def test_a_second_migration_changes_nothing(database, catalog):
    assert migrate(database, catalog).access == Changes()
    assert migrate(database, catalog, with_roles=True).access == Changes()


def test_without_the_flag_a_database_is_left_as_it_is(database, empty_database, catalog):
    result = migrate(empty_database, catalog)

    assert result.access == Changes()
    with empty_database.connect() as connection:
        assert not roles.in_use(connection)


def test_a_right_too_many_is_revoked_and_a_missing_one_granted(database, catalog):
    with database.connect() as connection:
        connection.execute(f"GRANT DELETE ON raw.{KIND} TO {PIPELINE}")
        connection.execute(f"REVOKE SELECT ON mart.v_receive_daily FROM {READER}")
        connection.execute("GRANT CREATE ON SCHEMA stg TO PUBLIC")

    access = migrate(database, catalog).access

    assert [(privilege.name, privilege.right) for privilege in access.granted] == [("mart.v_receive_daily", "SELECT")]
    assert [(privilege.name, privilege.right) for privilege in access.revoked] == [(f"raw.{KIND}", "DELETE")]
    with database.connect() as connection:
        public = "SELECT has_schema_privilege('pg_monitor', 'stg', 'CREATE')"
        assert connection.execute(public).fetchone() == (False,)


def test_the_grants_of_others_are_left_alone(database, catalog):
    with database.connect() as connection:
        connection.execute("GRANT SELECT ON mart.daily_target_plan TO pg_monitor")
        connection.execute("CREATE TABLE mart.of_another_software (id integer)")
        connection.execute(f"GRANT SELECT ON mart.of_another_software TO {READER}")

    assert migrate(database, catalog).access == Changes()

    with database.connect() as connection:
        kept = connection.execute("SELECT has_table_privilege('pg_monitor', 'mart.daily_target_plan', 'SELECT')")
        assert kept.fetchone() == (True,)
        left = left_to_the_pipeline(connection)
        assert sorted(foreign_objects(connection)) == sorted([*left, "of_another_software"])


def test_a_member_of_the_owner_migrates_and_what_it_makes_is_the_owners(user, catalog):
    changed = edited(catalog, "ref.v_customer", "SELECT 'x' AS customer_id FROM mart.v_sales_tree_detail_base")

    result = migrate(user("ms_owner"), changed)

    assert result.changed == {"ref.v_customer": "swap"}
    with user("ms_owner").connect() as connection:
        assert sorted(foreign_objects(connection)) == sorted(left_to_the_pipeline(connection))
    with user("ms_reader").connect() as connection:
        connection.execute("TABLE ref.v_customer")


@pytest.mark.parametrize("name", ["ms_pipeline", "ms_reader"])
def test_others_cannot_migrate_and_are_told_so(user, catalog, name):
    with pytest.raises((RolesError, MigrateError), match=f"member of {OWNER}; {name} isn't one|permission denied"):
        migrate(user(name), catalog)


def test_an_administrator_who_is_no_superuser_can_hand_over(server, catalog):
    url = create_database(server)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE ms_admin LOGIN CREATEROLE")
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO ms_admin").format(sql.Identifier(connection.info.dbname))
        )
        # Roles that another administrator made can't be given by this one.
        existing = [row[0] for row in connection.execute("SELECT rolname FROM pg_roles")]
        for role in (OWNER, PIPELINE):
            if role in existing:
                connection.execute(f"GRANT {role} TO ms_admin WITH ADMIN OPTION")
    database = Database(url=url.replace("postgres@", "ms_admin@"))

    migrate(database, catalog)
    migrate(database, catalog, with_roles=True)

    with database.connect() as connection:
        assert sorted(foreign_objects(connection)) == sorted(left_to_the_pipeline(connection))
    assert migrate(database, catalog).access == Changes()
    drop_database(server, url)
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        # Given before PostgreSQL 17 only; elsewhere the server just remarks that there is nothing to revoke.
        connection.execute(f"REVOKE {PIPELINE} FROM {OWNER} GRANTED BY ms_admin")
        connection.execute("DROP ROLE ms_admin")


# The pipeline's work, as the pipeline


def test_a_file_reaches_every_view(run, settings, pipeline):
    drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(KIND, net_weight=5000)]))

    result = run("ingest", [(KIND, "a.csv")])

    assert result.success
    assert tons(pipeline, "2025-12-01") == 5
    assert (settings.archive_dir / KIND).exists()


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_kind_can_be_loaded_and_replaced(pipeline, settings, kind):
    with pipeline.connect() as connection:
        for kg in (1000, 2000):
            assert take(connection, settings, [line(kind, net_weight=kg)], kind).status == "loaded"
        assert take(connection, settings, "nonsense", kind).status == "rejected"


def test_the_nightly_run_is_done(run, database):
    with database.connect() as connection:
        connection.execute("DELETE FROM ref.calendar_day WHERE ddate > '2026-12-01'")
        connection.execute("UPDATE ref.holiday_jp SET name = 'x' WHERE hdate = '2025-11-03'")
        connection.execute("INSERT INTO ref.closure_periods VALUES ('2025-12-29', '2025-12-31', '年末')")

    result = run("nightly")

    assert result.success, [event.message for event in result.get_step_failure_events()]
    with database.connect() as connection:
        assert connection.execute("SELECT max(ddate)::text FROM ref.calendar_day").fetchone() == ("2026-12-31",)
        assert connection.execute("SELECT count(*) FROM ref.closure_membership").fetchone() == (3,)
        assert connection.execute("SELECT name FROM ref.holiday_jp WHERE hdate = '2025-11-03'").fetchone() == (
            "文化の日",
        )


def test_everything_is_refreshed(run):
    assert run("refresh_all").success
    assert run("refresh_changed").success


def test_the_proof_repairs(pipeline, database, catalog):
    with database.connect() as connection:
        connection.execute(f"ALTER TABLE stg.{KIND} DISABLE TRIGGER USER")
        connection.execute(f"INSERT INTO stg.{KIND} (slip_date, net_weight) VALUES ('2025-12-01', 7000)")
        connection.execute(f"ALTER TABLE stg.{KIND} ENABLE TRIGGER USER")

    with pipeline.connect() as connection:
        assert prove_rollup(connection, catalog.relations[ROLLUP]).before.rows == 1
        prove_view(connection, catalog, catalog.relations["mart.mv_receive_daily"])

    assert tons(pipeline, "2025-12-01") == 7


def test_a_full_recompute_and_a_backfill(pipeline, settings, database, catalog):
    with pipeline.connect() as connection:
        take(connection, settings, [line(KIND, net_weight=5000)])
        connection.execute(f"UPDATE stg.{KIND} SET net_weight = 1")
    with database.connect() as connection:
        connection.execute(f"DELETE FROM stg.{KIND}")

    with pipeline.transaction() as connection:
        done = derive_days(connection, find_kind(KIND), D1, D1)
        owe_days(connection, catalog.relations[ROLLUP])
        roll_up(connection, catalog)

    assert (done.inserted, done.updated) == (1, 0)
    with pipeline.connect() as connection:
        kg = connection.execute(f"SELECT net_weight_kg FROM {catalog.relations[ROLLUP].stored}").fetchall()
    assert kg == [(5000,)]


def test_the_sensors_tick(pipeline, settings, definitions, instance, database, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_WATCH_SECONDS", "0")
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)",
        )
        connection.execute("UPDATE log.change_note SET noted_at = noted_at - interval '1 hour'")
    drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(KIND)]))

    def tick(name):
        with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
            return definitions.get_repository_def().get_sensor_def(name).evaluate_tick(context)

    assert len(tick("inbox").run_requests) == 1
    assert len(tick("changes").run_requests) == 1


# What the pipeline can't do


FORBIDDEN = [
    f"DROP TABLE raw.{KIND}",
    "DROP MATERIALIZED VIEW mart.mv_receive_daily",
    "DROP VIEW mart.v_receive_daily",
    f"ALTER TABLE stg.{KIND} ADD COLUMN x integer",
    f"ALTER TABLE stg.{KIND} DISABLE TRIGGER USER",
    "ALTER MATERIALIZED VIEW mart.mv_receive_daily RENAME TO x",
    f"DELETE FROM raw.{KIND}",
    f"UPDATE raw.{KIND} SET slip_date = ''",
    f"TRUNCATE raw.{KIND}",
    f"DELETE FROM stg.{KIND}",
    f"TRUNCATE stg.{KIND}",
    "INSERT INTO stg.receive_king_final (invoice_no) VALUES (1)",
    "INSERT INTO mart.daily_target_plan (target_ton) VALUES (1)",
    "UPDATE kpi.monthly_targets SET value = 1",
    "DELETE FROM ref.calendar_day",
    "DELETE FROM ref.closure_periods",
    "INSERT INTO ref.calendar_exception (ddate, override_type) VALUES ('2025-12-01', 'FORCE_OPEN')",
    "DELETE FROM log.upload_file",
    "DELETE FROM log.view_refresh",
    "UPDATE log.change_note SET day = NULL",
    "INSERT INTO log.relation (name, kind, definition_hash) VALUES ('x', 'view', '')",
    "UPDATE log.relation SET definition_hash = ''",
    "UPDATE log.mv_pipeline_version SET version_num = '0'",
    *(f"CREATE TABLE {schema}.x (id integer)" for schema in (*SCHEMAS, "public")),
    "CREATE SCHEMA x",
    "CREATE OR REPLACE FUNCTION ref.business_date() RETURNS date LANGUAGE sql RETURN '2000-01-01'::date",
    f"CREATE TRIGGER x AFTER INSERT ON raw.{KIND} EXECUTE FUNCTION log.note_truncate()",
    f"SET ROLE {OWNER}",
    "SET session_replication_role = replica",
    "CREATE ROLE x",
    f"GRANT {OWNER} TO CURRENT_USER",
    "SELECT rolpassword FROM pg_authid",
    "COPY (SELECT 1) TO '/tmp/x'",
    "COPY log.relation FROM PROGRAM 'true'",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
]


def test_the_pipeline_can_do_no_more_than_its_work(pipeline):
    done = []
    with pipeline.connect() as connection:
        # Before PostgreSQL 17 the pipeline owns what it refreshes.
        owned = bool(left_to_the_pipeline(connection))
        for statement in FORBIDDEN:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement)
            except (DENIED, psycopg.errors.DependentObjectsStillExist):
                continue
            if not (owned and statement.startswith("DROP MATERIALIZED VIEW")):
                done.append(statement)

    assert done == []


def test_the_pipeline_makes_no_trigger_that_runs_as_the_owner(pipeline):
    """note_rows executes the expression of its trigger's definition with its owner's rights."""
    with pipeline.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (d date)")
        with pytest.raises(DENIED, match="note_rows"):
            connection.execute(
                "CREATE TRIGGER x AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT "
                "EXECUTE FUNCTION log.note_rows('(SELECT current_date)')"
            )


def test_no_temporary_type_gets_into_what_runs_as_the_owner(pipeline, database):
    """A domain named text would be found before pg_catalog's, and its constraint be checked as the owner."""
    with pipeline.connect() as connection:
        connection.execute(
            "CREATE FUNCTION pg_temp.spy(v pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$"
        )
        connection.execute("CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.spy(VALUE))")
        with pytest.raises(psycopg.errors.RaiseException, match="ran as ms_pipeline"):
            connection.execute("SELECT 'x'::text")

        connection.execute(f"INSERT INTO stg.{KIND} (slip_date) VALUES ('2025-12-01')")

    with database.connect() as connection:
        newest = "SELECT relation, day FROM log.change_note ORDER BY id DESC LIMIT 1"
        assert connection.execute(newest).fetchone() == (f"stg.{KIND}", D1)


def test_the_pipeline_forgets_by_the_owners_function_but_nothing_of_the_last_day(pipeline, database):
    with database.connect() as connection:
        old = connection.execute("UPDATE log.view_refresh SET started_at = now() - interval '2 days'").rowcount
        connection.execute(
            "INSERT INTO log.view_refresh (relation, mode, started_at, seconds, row_count, rows_inserted, "
            "rows_deleted, size_bytes, business_date, snapshot) SELECT relation, mode, now() - interval '2 hours', "
            "seconds, row_count, 0, 0, size_bytes, business_date, snapshot FROM log.view_refresh, generate_series(1, 2)"
        )

    with pipeline.connect() as connection:
        removed = dict(connection.execute("SELECT * FROM log.forget('infinity', 1000)").fetchall())
        left = connection.execute("SELECT count(*) FROM log.view_refresh").fetchone()[0]

    assert (removed["log.view_refresh"], left) == (old, 2 * old)


def test_the_pipeline_notices_a_restore_by_the_owners_function(pipeline, database, catalog):
    with database.connect() as connection:
        connection.execute("UPDATE log.server SET system_identifier = 1")

    with pipeline.connect() as connection:
        assert detect_restore(connection)
        assert not detect_restore(connection)


@pytest.mark.parametrize("function", ["log.take_over()", "log.forget(now(), 1)"])
def test_nobody_else_may_call_them(user, database, function):
    with database.connect() as connection:
        # Even one who can look into the schema.
        connection.execute(f"GRANT USAGE ON SCHEMA log TO {READER}")
    with user("ms_reader").connect() as connection, pytest.raises(DENIED, match="for function"):
        connection.execute(f"SELECT {function}")


# The reader


def test_the_reader_reads_all_of_mart_and_ref(user):
    with user("ms_reader").connect() as connection:
        names = relations_in(connection, ("mart", "ref"), "rpvm")
        assert len(names) > 30
        for name in names:
            connection.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(*name.split("."))))
        assert connection.execute("SELECT ref.business_date()::text").fetchone() == ("2025-12-11",)


def test_the_reader_reads_nothing_else_and_writes_nothing(user):
    with user("ms_reader").connect() as connection:
        for name in relations_in(connection, ("raw", "stg", "kpi", "log"), "rpvmS"):
            with pytest.raises(DENIED):
                connection.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(*name.split("."))))
        for name in relations_in(connection, ("mart", "ref"), "rpv"):
            with pytest.raises(
                (DENIED, psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported)
            ):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(*name.split("."))))
        for statement in (
            "REFRESH MATERIALIZED VIEW mart.mv_receive_daily",
            "CREATE TABLE mart.x (id integer)",
            f"SET ROLE {PIPELINE}",
        ):
            with pytest.raises(DENIED):
                connection.execute(statement)


# What comes later


HEADER = Header(
    description="試験", description_en="A test.", owner="team:data-platform", key=("ddate",), criticality="optional"
)
LATER = (
    Relation("mart.mv_later", HEADER, "SELECT ddate FROM ref.calendar_day"),
    Relation(
        "mart.v_later", HEADER.model_copy(update={"key": (), "criticality": None}), "SELECT ddate FROM mart.mv_later"
    ),
)


def test_a_new_view_is_refreshed_and_read_without_anyones_doing(user, catalog):
    result = migrate(user("ms_owner"), Catalog([*catalog.relations.values(), *LATER]))

    assert {privilege.name for privilege in result.access.granted} == {"mart.mv_later", "mart.v_later"}
    with user("ms_pipeline").connect() as connection:
        assert refresh_view(connection, LATER[0]).rows == 2191
    with user("ms_reader").connect() as connection:
        assert connection.execute("SELECT count(*) FROM mart.v_later").fetchone() == (2191,)


# PostgreSQL 16 has no MAINTAIN


@pytest.fixture
def sixteen(database, catalog):
    """The pipeline takes the server for PostgreSQL 16, and grants no MAINTAIN; the database was handed over so."""
    with patch.object(psycopg.ConnectionInfo, "server_version", PropertyMock(return_value=160010)):
        migrate(database, catalog, with_roles=True)
        yield


def test_without_maintain_the_pipeline_owns_the_materialized_views_only(catalog):
    wanted = wanted_privileges(catalog, maintain=False)

    assert not [privilege for privilege in wanted if privilege.right == "MAINTAIN"]
    with_maintain = {p.name for p in wanted_privileges(catalog, maintain=True) if p.right == "MAINTAIN"}
    assert with_maintain == {view.name for view in catalog.materialized_views}


def test_on_16_the_pipeline_refreshes_what_it_owns(sixteen, database, pipeline, catalog):
    with pipeline.connect() as connection:
        assert set(foreign_objects(connection)) >= {view.table for view in catalog.materialized_views}
        maintain = connection.execute(
            "SELECT count(*) FROM pg_class CROSS JOIN aclexplode(relacl) AS a "
            "WHERE privilege_type = 'MAINTAIN' AND grantee = %s::regrole AND relowner <> grantee",
            [PIPELINE],
        )
        assert maintain.fetchone() == (0,)
        for view in catalog.materialized_views:
            assert refresh_view(connection, view).mode == "concurrently"
        with pytest.raises(DENIED):
            connection.execute("CREATE TABLE mart.x (id integer)")
    assert migrate(database, catalog).access == Changes()


def test_on_16_the_owner_rebuilds_them_and_the_pipeline_and_the_reader_go_on(sixteen, user, catalog):
    view = catalog.relations["mart.mv_yard_daily"]
    changed = edited(catalog, view.name, f"SELECT * FROM ({view.query}) AS q WHERE true")

    result = migrate(user("ms_owner"), changed)

    assert view.name in result.changed
    with user("ms_pipeline").connect() as connection:
        refresh_view(connection, view)
    with user("ms_reader").connect() as connection:
        connection.execute("TABLE mart.mv_yard_daily")


def test_after_an_upgrade_the_owner_gets_them_back(database, catalog):
    with database.connect() as connection:
        if left_to_the_pipeline(connection):
            pytest.skip("there is no upgrade before PostgreSQL 17")
    with patch.object(psycopg.ConnectionInfo, "server_version", PropertyMock(return_value=160010)):
        migrate(database, catalog, with_roles=True)

    result = migrate(database, catalog)

    assert {view.name for view in catalog.materialized_views} <= result.access.owners.keys()
    with database.connect() as connection:
        assert sorted(foreign_objects(connection)) == sorted(left_to_the_pipeline(connection))


# The command line


def test_dev_as_the_pipeline_does_not_migrate_but_checks(user, catalog):
    changed = edited(catalog, "ref.v_customer", "SELECT 'x' AS customer_id FROM mart.v_sales_tree_detail_base")

    with user("ms_pipeline").connect() as connection:
        assert not roles.may_migrate(connection)
        check_migrated(connection, catalog)
        with pytest.raises(CommandError, match=f"^Definition drift of ref.v_customer .* member of {OWNER}"):
            check_migrated(connection, changed)
    with user("ms_owner").connect() as connection:
        assert roles.may_migrate(connection)


def test_the_command_line_works_as_the_pipeline_on_a_dagster_database_of_its_own(user, storage, settings, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(csv_text([line(KIND, net_weight=5000)]), encoding="cp932", newline="")

    def cli(name, *arguments):
        return call_command(
            *arguments,
            MV_PIPELINE_DATABASE_URL=settings.resolved_database_url().replace("postgres@", f"{name}@"),
            MV_PIPELINE_DAGSTER_URL=storage.replace("postgres@", f"{name}@"),
        )

    with psycopg.connect(storage, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE ms_pipeline SET role = '{PIPELINE}'")
    again = cli("postgres", "migrate", "--roles")
    assert again.stdout == "Nothing to do: the database is up to date.\n"
    ingest = cli("ms_pipeline", "ingest", "--kind", KIND, str(path), "--json")
    refused = cli("ms_pipeline", "migrate")
    blind = cli("ms_reader", "status")

    with psycopg.connect(storage) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert owners == [(PIPELINE,)]
    assert json.loads(ingest.stdout)[0]["status"] == "success", ingest.stderr
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith(f"mv-pipeline: This database belongs to the role {OWNER}.")
    assert (blind.returncode, blind.stderr) == (1, "mv-pipeline: permission denied for schema log\n")
