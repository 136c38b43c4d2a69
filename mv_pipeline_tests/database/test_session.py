"""Sessions: whatever server, database, role and environment say, ours are alike, through either driver.

`test_every_setting…` goes through all that pg_settings has for a session. Each is pinned, named by `doctor`, or set to
something unusual while a whole plant works: what it reads and writes has to stay the same.
"""

import socket
import time
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy
from dagster_postgres import DagsterPostgresStorage
from psycopg import sql

from mv_pipeline.database.connection import SESSION, Database, is_transient
from mv_pipeline.migrate.server import find_faults
from mv_pipeline.operations.pinned_storage import PinnedStorage
from mv_pipeline.settings import Settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import LONG, create_database, database_name, temporary_server
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import run_command

KINDS = ("shogun_final_receive", "shogun_final_yard")
PINNED, NAMED = SESSION["pinned"], SESSION["named"]
# Of the transaction and not of the session; what a connection calls itself, and what it speaks, isn't in the options.
APART = {"transaction_isolation", "transaction_read_only", "transaction_deferrable", "default_transaction_read_only"}
# What no server takes without a library of that name.
# Nor log_statement_stats beside others of its kind.
LIBRARIES = {"log_statement_stats", "session_preload_libraries", "local_preload_libraries"}
# These only choose between plans, which may take minutes then, or fill the server's log.
ONLY_SLOW = (
    "enable_",
    "debug_print_",
    "geqo",
    "from_collapse_limit",
    "join_collapse_limit",
    "cpu_",
    "default_statistics_",
)
# Where a type alone doesn't tell what is unusual and possible.
UNUSUAL = {
    "DateStyle": "German, DMY",
    "TimeZone": "America/New_York",
    "application_name": "somebody else",
    "backtrace_functions": "no_function",
    "client_encoding": "SJIS",
    "createrole_self_grant": "set, inherit",
    "default_table_access_method": "other_heap",
    "default_tablespace": "elsewhere",
    "default_text_search_config": "pg_catalog.german",
    "dynamic_library_path": "$libdir:/nowhere",
    "extension_control_path": "$system:/nowhere",
    "lc_messages": "POSIX",
    "lc_monetary": "POSIX",
    "lc_numeric": "POSIX",
    "lc_time": "POSIX",
    # The first values of these would write everything to the log.
    "log_min_messages": "error",
    "log_min_error_statement": "panic",
    "log_statement": "ddl",
    "output_plugin_libraries": "pgoutput",
    "plpgsql.extra_errors": "all",
    "plpgsql.extra_warnings": "all",
    "restrict_nonsystem_relation_kind": "view",
    "search_path": "decoy, pg_catalog, public",
    "temp_tablespaces": "elsewhere",
    "timezone_abbreviations": "Australia",
    "wal_consistency_checking": "heap",
    # A parallel worker of ours begins with the database's, so that less would end it while it starts.
    "transaction_timeout": "200",
    # The least would end what needs more, with an error that names it.
    "max_stack_depth": "1000",
    "temp_file_limit": "1000000",
}
# In front of what everybody means, where a search path lets them.
DECOYS = """
CREATE SCHEMA decoy;
CREATE FUNCTION decoy.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';
CREATE FUNCTION decoy.format_type(oid, integer) RETURNS text LANGUAGE sql AS $$SELECT 'decoy'$$;
CREATE FUNCTION decoy.upper(text) RETURNS text LANGUAGE sql AS $$SELECT 'DECOY'$$;
CREATE FUNCTION decoy.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT timestamptz '1999-01-01'$$;
CREATE VIEW decoy.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
CREATE VIEW decoy.pg_namespace AS SELECT * FROM pg_catalog.pg_namespace WHERE false;
CREATE TABLE decoy.runs (x integer);
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
"""


def another_value(name, kind, value, least, most, values):
    """A value of a setting that it doesn't have; None: there is none."""
    if name in UNUSUAL:
        return UNUSUAL[name]
    if kind == "bool":
        return "off" if value == "on" else "on"
    if kind == "enum":
        return next((other for other in values if other != value), None)
    if least == most:
        return None
    return least if float(least) != float(value) else str(int(float(value)) + 1)


def session_settings(connection):
    """All settings that a session can have of its own, with another value for each."""
    connection.execute("DO 'BEGIN END'")  # loads PL/pgSQL, whose settings count
    rows = connection.execute(
        "SELECT name, vartype, setting, min_val, max_val, enumvals FROM pg_settings "
        "WHERE context IN ('user', 'superuser') ORDER BY name"
    ).fetchall()
    return {row[0]: another_value(*row) for row in rows if row[0] not in LIBRARIES}


@pytest.fixture(scope="module")
def own_server():
    """A server of these tests' own: what is unusual about it is no other test's business."""
    with temporary_server() as settings:
        with psycopg.connect(settings.resolved_database_url(), autocommit=True) as connection:
            connection.execute("SET allow_in_place_tablespaces = on")
            connection.execute("CREATE TABLESPACE elsewhere LOCATION ''")
        yield settings


@pytest.fixture(scope="module")
def with_storage(own_server):
    """Make a database in which Dagster has its tables."""
    first = create_database(own_server)
    DagsterPostgresStorage(first)
    return lambda: create_database(own_server, database_name(first))


def make_unusual(server, url, settings):
    name = database_name(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DECOYS)
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        for setting, value in settings.items():
            # A library's setting can't be set before the session knows the library.
            connection.execute("DO 'BEGIN END'")
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.SQL(setting), sql.SQL(value) if "," in value else sql.Literal(value)
                )
            )


def work(url, storage, home, folder):
    """Migrate, load files good and bad, and give what everybody reads then, and what doctor says."""
    variables = {
        "MV_PIPELINE_HOME": str(home),
        "MV_PIPELINE_DATABASE_URL": url,
        "MV_PIPELINE_DAGSTER_URL": storage,
        "DAGSTER_HOME": str(home / "dagster"),
    }
    said = []
    for arguments, code in (
        (["migrate"], 0),
        (["ingest", "--kind", KINDS[0], folder / "good.csv", folder / "bad.csv"], 1),
        (["ingest", "--kind", KINDS[1], folder / "yard.csv"], 0),
        (["refresh", "--all"], 0),
        (["migrate"], 0),
    ):
        done = call_command(*arguments, **variables)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        said.append(done.returncode)
    said.append(call_command("migrate", "--plan", **variables).stdout)
    with Database(url).connect("test") as connection:
        names = connection.execute(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
            "WHERE relkind IN ('v', 'm', 'r') AND nspname IN ('mart', 'ref', 'stg', 'rollup', 'kpi') ORDER BY 1"
        ).fetchall()
        for (name,) in names:
            row = "(to_jsonb(t) - '{created_at,updated_at,changed_at}'::text[])::text"
            said.append((name, connection.execute(f"SELECT {row} FROM {name} AS t ORDER BY 1").fetchall()))
    return said


@pytest.fixture
def files(tmp_path):
    lines = [line(KINDS[0], slip_date=f"2025/12/{day:02}", net_weight=str(100 * day)) for day in range(1, 11)]
    for name, content in (
        ("good", lines),
        ("bad", [*lines, line(KINDS[0], slip_date="2025/02/30", net_weight="x\\y")]),
        ("yard", [line(KINDS[1])]),
    ):
        (tmp_path / f"{name}.csv").write_text(csv_text(content), encoding="cp932", newline="")
    return tmp_path


@pytest.mark.skipif(not LONG, reason="two plants at work take half a minute: part of `make test-long`")
def test_every_setting_of_a_session_is_pinned_or_named_or_makes_no_difference(
    own_server, with_storage, files, tmp_path
):
    urls = [create_database(own_server), with_storage(), create_database(own_server), with_storage()]
    with psycopg.connect(urls[0], autocommit=True) as connection:
        found = session_settings(connection)
    unusual = {
        name: value
        for name, value in found.items()
        if value and name not in NAMED and name not in APART and not name.startswith(ONLY_SLOW)
    }

    before = work(urls[0], urls[1], tmp_path / "usual", files)
    for url in urls[2:]:
        make_unusual(own_server, url, unusual)
    after = work(urls[2], urls[3], tmp_path / "unusual", files)

    assert set(PINNED) <= {*found} | {name for name in SESSION["since"] if name not in found}
    assert len(unusual) > 100
    assert after == before
    # They were at work: whoever isn't one of ours has them.
    lives = "-c idle_session_timeout=0 -c statement_timeout=0"
    with psycopg.connect(urls[2], autocommit=True, options=lives) as connection:
        assert connection.execute("SHOW quote_all_identifiers").fetchone() == ("on",)
        assert connection.execute("SHOW transform_null_equals").fetchone() == ("on",)


def seen(execute):
    """What a session has of all that is pinned."""
    execute("DO 'BEGIN END'")
    rows = execute("SELECT name, setting FROM pg_settings").fetchall()
    return {name: value for name, value in rows if name in {*PINNED, "client_encoding", "application_name"}}


def dagster_session(url):
    engine = sqlalchemy.create_engine(PinnedStorage.from_config_value(None, {"postgres_url": url}).postgres_url)
    return engine.connect()


@pytest.mark.parametrize("whose", ["DATABASE {database}", "ROLE postgres", "ROLE postgres IN DATABASE {database}"])
def test_both_drivers_pin_the_same_whoever_sets_another_value(with_storage, whose):
    url = with_storage()
    scope = whose.format(database=database_name(url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DO 'BEGIN END'")
        values = {name: value for name, value in session_settings(connection).items() if name in PINNED}
        usual = Database(url)
        with usual.connect("test") as before:
            expected = seen(before.execute)
        for name, value in values.items():
            if name not in ("default_table_access_method",):
                connection.execute(f"ALTER {scope} SET {name} = " + (value if "," in value else f"'{value}'"))
    try:
        with usual.connect("test") as ours:
            assert seen(ours.execute) == expected
        with dagster_session(url) as theirs:
            found = seen(lambda query: theirs.execute(sqlalchemy.text(query)))
        assert found == expected | {"TimeZone": "UTC", "application_name": "mv_pipeline dagster"}
        wanted = {name: value for name, value in PINNED.items() if name in expected}
        assert {name: expected[name] for name in wanted} == wanted
    finally:
        with Database(url).connect("test") as connection:
            for name in values:
                connection.execute(f"ALTER {scope} RESET {name}")


@pytest.mark.parametrize("name", [*NAMED])
def test_what_cannot_be_pinned_is_named_with_what_it_means(own_server, name):
    url = create_database(own_server)
    with psycopg.connect(url, autocommit=True) as connection:
        value = session_settings(connection)[name]
        connection.execute(f"ALTER DATABASE {database_name(url)} SET {name} = '{value}'")

    with Database(url).connect("test") as connection:
        (fault,) = find_faults(connection)

    assert fault.what == f"{name} is {value} in sessions of the pipeline"
    assert f"RESET {name}" in fault.remedy
    assert fault.means == NAMED[name][1]


@pytest.mark.parametrize("whose", ["DATABASE {database}", "ROLE postgres IN DATABASE {database}"])
def test_a_database_that_is_to_be_read_only_stays_so_and_is_named(own_server, whose, settings):
    url = create_database(own_server)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER {whose.format(database=database_name(url))} SET default_transaction_read_only = on")

    for arguments in (["migrate"], ["migrate", "--plan"], ["doctor"]):
        done = call_command(*arguments, MV_PIPELINE_DATABASE_URL=url)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "Sessions may only read, as default_transaction_read_only is on" in said
        assert "RESET default_transaction_read_only" in said


def test_what_libpq_reads_from_the_environment_changes_no_session(with_storage, monkeypatch):
    url = with_storage()
    with Database(url).connect("test") as connection:
        expected = seen(connection.execute)
    for name, value in {
        "PGDATESTYLE": "German, DMY",
        "PGTZ": "America/New_York",
        "PGGEQO": "off",
        "PGCLIENTENCODING": "EUC_JP",
        "PGOPTIONS": "-c statement_timeout=1 -c search_path=decoy -c no_such_setting=1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "nowhere",
        "PGAPPNAME": "somebody",
    }.items():
        monkeypatch.setenv(name, value)
    url = f"{url}&port=5432"

    with Database(url).connect("test") as connection:
        assert seen(connection.execute) == expected
    with dagster_session(url) as connection:
        found = seen(lambda query: connection.execute(sqlalchemy.text(query)))
    assert found == expected | {"TimeZone": "UTC", "application_name": "mv_pipeline dagster"}


def test_the_embedded_server_is_found_whatever_server_the_environment_names(home):
    settings, _ = home
    elsewhere = {
        "PGHOST": "/nowhere",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "nowhere",
        "PGSERVICE": "nothing",
        "PGSERVICEFILE": "/nowhere",
        "PGPASSFILE": "/nowhere",
        "PGSSLMODE": "verify-full",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGDATESTYLE": "German",
        "PGOPTIONS": "-c statement_timeout=1",
    }
    own = {"MV_PIPELINE_HOME": str(settings.home), "MV_PIPELINE_DATABASE_URL": "", "MV_PIPELINE_DAGSTER_URL": ""}

    done = run_command("status", **own, **elsewhere)

    assert "The database is empty. Run `mv-pipeline migrate`." in done.stderr, done.stderr


def test_a_server_that_takes_a_connection_and_never_answers_is_not_waited_for(monkeypatch):
    assert 1 < SESSION["connection"]["connect_timeout"] <= 30
    monkeypatch.setitem(SESSION["connection"], "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError) as caught:
            Database(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/plant").open()

    assert is_transient(caught.value)
    assert time.monotonic() - started < 60


def service_file(folder, server, name):
    path = folder / "pg_service.conf"
    path.write_text(f"[plant]\nhost={server.server_dir}\nuser=postgres\ndbname={name}\n")
    return {"PGSERVICEFILE": str(path)}


FORMS = {
    "postgres://": "postgres://postgres@/{name}?host={folder}",
    "several hosts": "postgresql://postgres@/{name}?host=/nowhere,{folder}&port=1,5432",
    "one port for several hosts": "postgresql://postgres@/{name}?host=/nowhere,{folder}&port=5432",
    "hosts in their place": "postgresql://postgres@{quoted},{quoted}:5432/{name}",
    "options": "postgresql://postgres@/{name}?host={folder}&options=-c%20work_mem%3D99MB%20-c%20mv_pipeline.x%3Da%5C%20b",
    "all in the query": "postgresql:///?host={folder}&user=postgres&dbname={name}",
    "the database twice": "postgresql://postgres@/other?host={folder}&dbname={name}",
    "a service": "postgresql://?service=plant",
    "of the connection": "postgresql://postgres@/{name}?host={folder}&connect_timeout=3&target_session_attrs=read-write"
    "&keepalives=1&sslmode=prefer&application_name=x&client_encoding=sjis&gssencmode=disable&load_balance_hosts=random",
}


@pytest.mark.parametrize("form", FORMS)
def test_both_drivers_read_a_url_alike(own_server, with_storage, tmp_path, monkeypatch, form):
    name = database_name(with_storage())
    folder = own_server.server_dir
    for variable, value in service_file(tmp_path, own_server, name).items():
        monkeypatch.setenv(variable, value)
    url = Settings(database_url=FORMS[form].format(name=name, folder=folder, quoted=quote(str(folder), safe="")))
    query = (
        "SELECT current_database(), current_user::text, current_setting('work_mem'), "
        "current_setting('mv_pipeline.x', true), current_setting('search_path'), current_setting('client_encoding')"
    )

    with Database(url.resolved_database_url()).connect("test") as connection:
        ours = connection.execute(query).fetchone()
    with dagster_session(url.resolved_database_url()) as connection:
        theirs = connection.execute(sqlalchemy.text(query)).fetchone()

    given = ("99MB", "a b") if form == "options" else ("4MB", None)
    assert ours == tuple(theirs) == (name, "postgres", *given, "public", "UTF8")


def test_dagster_notes_times_in_utc_whatever_the_servers_time_zone(with_storage):
    """It takes what the server puts in for UTC."""
    url = with_storage()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database_name(url)} SET TimeZone = 'Asia/Tokyo'")

    with dagster_session(url) as connection:
        late = connection.execute(
            sqlalchemy.text("SELECT abs(extract(epoch FROM localtimestamp - now() AT TIME ZONE 'UTC')) < 1")
        ).scalar()

    assert late
