"""The command line: output and exit code of every command, called in this process; one starts a real one."""

import json
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import psycopg
import pytest
from typer.testing import CliRunner

from mv_pipeline.cli.app import app
from mv_pipeline.definitions import defs
from mv_pipeline.operations.status import read_status
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.checks.conftest import age_changes
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import NEWEST_REVISION, create_database, drop_database
from mv_pipeline_tests.defs.test_sensors import Ticks
from mv_pipeline_tests.factory import csv_text, line, roll_up
from mv_pipeline_tests.migrate.test_state import edited
from mv_pipeline_tests.processes import run_command

KIND = "shogun_final_receive"
YARD, SHIPMENT = "mart.mv_yard_daily", "mart.mv_shipment_daily"
TARGET_CARD, KPI = "mart.mv_target_card_per_day", "mart.mv_inbound_kpi_daily"
OF_RECEIVE = {
    "mart.mv_receive_daily",
    "mart.mv_inb5y_week_profile_min",
    "mart.mv_inb_avg5y_day_biz",
    "mart.mv_inb_avg5y_day_scope",
    "mart.mv_inb_avg5y_weeksum_biz",
    TARGET_CARD,
    KPI,
}


@pytest.fixture(scope="module")
def storage(server):
    """Dagster's storage, one for all: making its tables takes seconds."""
    url = create_database(server)
    yield url
    drop_database(server, url)


@pytest.fixture
def cli(settings, storage):
    """Call `mv-pipeline` on the test's home and database."""

    def run(*arguments, code=0, start=call_command, **variables):
        done = start(*arguments, **{"MV_PIPELINE_DAGSTER_URL": storage, **variables})
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def csv_file(tmp_path):
    def write(name="list.csv", **cells):
        path = tmp_path / name
        path.write_text(csv_text([line(**cells)]), encoding="cp932", newline="")
        return path

    return write


def test_ingest_loads_a_copy_refreshes_and_shows_its_run_to_the_ui(cli, csv_file, connection, storage):
    path = csv_file(net_weight=5000)

    done = cli("ingest", "--kind", KIND, path, "--json")

    (record,) = json.loads(done.stdout)
    assert (record["file_name"], record["status"], record["rows"]) == ("list.csv", "success", 1)
    assert path.exists()
    with psycopg.connect(storage) as dagster:
        newest = dagster.execute("SELECT pipeline_name, status FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    assert newest == ("ingest", "SUCCESS")
    assert connection.execute(
        "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'"
    ).fetchone() == (5,)


def test_ingest_beside_a_running_sensor_is_one_run(cli, csv_file, settings, storage, monkeypatch):
    """The sensor ticks all the while and takes what has come to rest, which any file has at once."""
    cli("ingest", "--kind", KIND, csv_file("first.csv"))
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", storage)
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("MV_PIPELINE_WATCH_SECONDS", "0")
    files = [csv_file(f"{number}.csv", amount=number) for number in range(3)]
    said = []

    with dg.DagsterInstance.get() as instance, ThreadPoolExecutor(1) as pool:
        # Read anew, as those of a daemon in this home: their runs carry its name.
        ticks = Ticks(defs(), instance)
        done = pool.submit(run_command, "ingest", "--kind", KIND, *files)
        while not done.done():
            tick = ticks.tick()
            assert not tick.run_requests
            said.append(tick.skip_message)

    assert done.result().returncode == 0, done.result().stderr
    assert any("is under way" in message for message in said)
    assert not list(settings.inbox_dir.rglob("*.csv"))


def test_ingest_that_cannot_run_leaves_nothing_in_the_inbox(cli, csv_file, settings):
    path = csv_file()

    cli("ingest", "--kind", KIND, path, code=1, MV_PIPELINE_DAGSTER_URL="postgresql://nobody@127.0.0.1:1/dagster")

    assert [entry for entry in settings.inbox_dir.rglob("*") if entry.is_file()] == []


def test_ingest_takes_any_name(cli, csv_file):
    taken = {".list.csv": "_.list.csv", "🚛" * 62 + ".csv": "🚛" * 62 + ".csv", "a\nb.csv": "a�b.csv"}
    files = [csv_file(name, net_weight=number) for number, name in enumerate(taken)]

    records = json.loads(cli("ingest", "--kind", KIND, *files, "--json").stdout)

    assert [(record["file_name"], record["status"]) for record in records] == [
        (name, "success") for name in taken.values()
    ]


def test_ingest_of_a_bad_file_says_why_in_japanese_and_exits_1(cli, csv_file, settings):
    done = cli("ingest", "--kind", KIND, csv_file(net_weight="x"), csv_file("good.csv"), code=1)

    assert "数値として読めません" in done.stdout
    assert (settings.rejected_dir / KIND / "list.csv.errors.csv").exists()
    assert "success" in done.stdout


def test_ingest_twice_is_a_duplicate(cli, csv_file):
    path = csv_file()
    cli("ingest", "--kind", KIND, path)

    (record,) = json.loads(cli("ingest", "--kind", KIND, path, "--json").stdout)

    assert record["status"] == "duplicate"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("ingest", "--kind", "receive", "x.csv"),
            "There is no CSV kind “receive”. The kinds are: shogun_flash_receive",
        ),
        (("ingest", "--kind", KIND, "missing.csv"), "missing.csv is no .csv file."),
        (("refresh",), "Say what to refresh: names, --all, --csv-type, or --full"),
        (("refresh", "mart.mv_nowhere"), "No materialized view or rollup: mart.mv_nowhere. There are: mart.mv_"),
        (("refresh", "--csv-type", "king"), "There is no list “king”. The lists are: receive, shipment, yard."),
        (("calendar", "--csv-type", "king"), "There is no list “king”. The lists are: receive, shipment, yard."),
        (("uploads", "restore", "7"), "Upload 7 wasn't loaded; `mv-pipeline uploads` shows what became of each."),
        (("uploads", "--kind", "king"), "There is no CSV kind “king”. The kinds are: shogun_flash_receive"),
    ],
)
def test_an_error_is_one_line_with_the_way_out(cli, arguments, message):
    done = cli(*arguments, code=1)

    assert done.stderr.startswith("mv-pipeline: " + message)
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_an_error_came_from(cli):
    done = cli("--debug", "refresh", code=1)

    assert "Traceback (most recent call last)" in done.stderr
    assert "CommandError: Say what to refresh" in done.stderr


def test_a_fault_of_ours_is_one_line_too_and_names_debug(cli, connection):
    connection.execute("DROP TABLE log.upload_file CASCADE")

    done = cli("uploads", code=1)

    assert done.stderr.startswith('mv-pipeline: unexpected UndefinedTable: relation "log.upload_file" does not exist')
    assert "mv-pipeline --debug" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_line(cli):
    done = cli("status", code=1, MV_PIPELINE_PORT="no", start=run_command)

    assert done.stderr == (
        "mv-pipeline: MV_PIPELINE_PORT: Input should be a valid integer, unable to parse string as an integer\n"
    )


def test_an_unreachable_server_is_one_line_without_the_password(cli):
    done = cli("status", code=1, MV_PIPELINE_DATABASE_URL="postgresql://u:canary@127.0.0.1:1/plant")

    assert done.stderr.startswith("mv-pipeline: ")
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_status_lists_every_rollup_and_view_and_exits_0(cli, catalog):
    records = json.loads(cli("status", "--json").stdout)

    shown = [*catalog.rollups, *catalog.materialized_views]
    assert [record["name"] for record in records] == [relation.name for relation in shown]
    receive = next(record for record in records if record["name"] == "mart.mv_receive_daily")
    assert (receive["rows"], receive["newest_day"], receive["checks_failed"]) == (1805, "2025-12-10", {})
    assert "mart.mv_inb5y_week_profile_min" in cli("status").stdout


def test_status_shows_a_rollup_whose_new_definition_has_not_been_migrated(connection, catalog):
    name = "mart.rollup_customer_sales"
    changed = edited(catalog, name, catalog.relations[name].query.replace("sum(qty_kg)", "2 * sum(qty_kg)"))

    (report,) = [report for report in read_status(connection, changed) if report.name == name]

    assert (report.rows, report.size_bytes, report.last_refresh) == (0, 0, None)


def test_status_exits_1_and_says_what_failed(cli, connection):
    connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
    records = json.loads(cli("status", "--json").stdout)
    assert {record["name"] for record in records if record["stale"]} == {TARGET_CARD, KPI}
    age_changes(connection, minutes=16)

    done = cli("status", code=1)

    assert "mart.mv_target_card_per_day, up_to_date: 1 changes found since" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "refreshed", "still_stale"),
    [
        (("--all",), {SHIPMENT, YARD, *OF_RECEIVE}, set()),
        ((TARGET_CARD,), {TARGET_CARD}, {KPI}),
        (("--csv-type", "receive"), OF_RECEIVE, set()),
        (("--csv-type", "yard"), {YARD}, {TARGET_CARD, KPI}),
    ],
)
def test_refresh_brings_what_was_asked_for_up_to_date(cli, connection, arguments, refreshed, still_stale):
    connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")

    answer = json.loads(cli("refresh", *arguments, "--json").stdout)

    assert answer.keys() == {"run_id", "refreshed"}
    assert set(answer["refreshed"]) == refreshed
    records = json.loads(cli("status", "--json").stdout)
    assert {record["name"] for record in records if record["stale"]} == still_stale


def test_refresh_full_recomputes_untracked_changes(cli, connection):
    connection.execute("ALTER TABLE stg.shogun_final_yard DISABLE TRIGGER USER")
    connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5000)")
    connection.execute("ALTER TABLE stg.shogun_final_yard ENABLE TRIGGER USER")

    cli("refresh", "--full")

    assert connection.execute("SELECT net_ton FROM mart.mv_yard_daily WHERE ddate = '2025-12-01'").fetchone() == (5,)


def test_backfill_derives_days_and_refreshes(cli, csv_file, connection):
    cli("ingest", "--kind", KIND, csv_file(net_weight=5000))
    connection.execute(f"UPDATE stg.{KIND} SET net_weight = 1")

    done = cli("backfill", "--kind", KIND, "--from", "2025-11-01", "--to", "2025-12-31", "--json")

    assert json.loads(done.stdout) == [{"days": 1, "inserted": 0, "updated": 1, "deleted": 0}]
    assert connection.execute(
        "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'"
    ).fetchone() == (5,)


def test_uploads_shows_what_became_of_each_file_and_why(cli, csv_file):
    cli("ingest", "--kind", KIND, csv_file("good.csv", net_weight=5000), csv_file("bad.csv", net_weight="x"), code=1)

    bad, good = json.loads(cli("uploads", "--json").stdout)

    assert (bad["file_name"], bad["state"], bad["lines"]) == ("bad.csv", "rejected", 0)
    assert "数値として読めません" in bad["reason"]
    assert (good["file_name"], good["state"], good["lines"], good["net_weight_kg"]) == ("good.csv", "loaded", 1, 5000)
    assert (good["first_day"], good["last_day"], good["reason"]) == ("2025-12-01", "2025-12-01", None)
    piped = cli("uploads", "--rejected").stdout.splitlines()
    assert len(piped) == 2
    assert "bad.csv" in piped[1]


def test_uploads_restore_lets_an_earlier_upload_count_again_and_refreshes(cli, csv_file, connection):
    cli("ingest", "--kind", KIND, csv_file("whole.csv", net_weight=5000))
    cli("ingest", "--kind", KIND, csv_file("part.csv", net_weight=1000))
    _, first = json.loads(cli("uploads", "--json").stdout)

    restored = json.loads(cli("uploads", "restore", first["id"], "--day", "2025-12-01", "--json").stdout)

    assert (restored["file_name"], restored["lines"], restored["net_weight_kg"]) == ("whole.csv", 1, 5000)
    assert restored["reason"] == f"restored from upload {first['id']}"
    query = "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'"
    assert connection.execute(query).fetchone() == (5,)
    newest, *_ = json.loads(cli("uploads", "--kind", KIND, "--json").stdout)
    assert newest == restored


def test_uploads_confirm_says_that_a_day_is_right(cli, csv_file):
    for weight in (5000, 1000):
        cli("ingest", "--kind", KIND, csv_file(net_weight=weight))
    second, first = json.loads(cli("uploads", "--json").stdout)

    assert cli("uploads", "confirm", second["id"]).stdout == "Confirmed: 2025-12-01.\n"

    done = cli("uploads", "confirm", first["id"], code=1)
    assert done.stderr.startswith(f"mv-pipeline: Upload {first['id']} has left no day with far less than it had")


def test_calendar_shows_the_uploads_of_a_month_and_what_is_missing(cli, csv_file, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")
    cli("ingest", "--kind", KIND, csv_file(net_weight=5000))

    days = json.loads(cli("calendar", "--month", "2025-12", "--csv-type", "receive", "--json").stdout)
    done = cli("calendar")

    assert len(days) == 31 * 2
    (first,) = [day for day in days if day["status"] == "loaded"]
    assert (first["ddate"], first["kind"], first["lines"], first["net_weight_kg"]) == ("2025-12-01", KIND, 1, 5000)
    # Sunday the 14th is the month's second; today is the 11th.
    assert "receive: 9 business days without a file: 2025-12-02, 2025-12-03" in done.stdout
    # A list that never had a line isn't used.
    assert "yard:" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (
            ("migrate", "--json"),
            {
                *("revision_before", "revision_after", "changed", "compared", "dropped", "kept", "remarks"),
                *("reference", "access"),
            },
        ),
        (("url", "--json"), {"url"}),
    ],
)
def test_whatever_has_an_answer_gives_it_as_json(cli, arguments, keys):
    assert json.loads(cli(*arguments).stdout).keys() == keys


def test_piped_a_table_is_plain_and_a_record_is_a_line(cli, catalog):
    lines = cli("status").stdout.splitlines()

    assert len(lines) == 1 + len(catalog.rollups) + len(catalog.materialized_views)
    assert lines[0].split()[0] == "view"
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("mv-pipeline ingest --kind shogun_final_r", KIND), ("mv-pipeline refresh mart.mv_yard", "mart.mv_yard_daily")],
)
def test_the_shell_completes_kinds_and_views(cli, typed, expected):
    done = cli(_MV_PIPELINE_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))

    assert done.stdout.split() == [expected]


def test_migrate_says_what_it_did_or_that_there_was_nothing_to_do(cli, server):
    url = create_database(server)

    first = cli("migrate", MV_PIPELINE_DATABASE_URL=url).stdout
    second = cli("migrate", MV_PIPELINE_DATABASE_URL=url).stdout

    drop_database(server, url)
    assert f"revision none → {NEWEST_REVISION}\n" in first
    assert "mart.mv_receive_daily: create\n" in first
    assert second == "Nothing to do: the database is up to date.\n"


def test_url_prints_the_url_alone(cli, settings):
    assert cli("url").stdout == settings.database_url + "\n"


@pytest.fixture
def changed_unnoticed(connection, catalog):
    """A line that was changed while the triggers were switched off, as a restore of a dump does it."""
    connection.execute(f"INSERT INTO stg.{KIND} (slip_date, net_weight) VALUES ('2025-12-01', 5000)")
    roll_up(connection, catalog)
    for view in catalog.materialized_views:
        refresh_view(connection, view)
    connection.execute(f"ALTER TABLE stg.{KIND} DISABLE TRIGGER USER")
    connection.execute(f"UPDATE stg.{KIND} SET net_weight = 9000")
    connection.execute(f"ALTER TABLE stg.{KIND} ENABLE TRIGGER USER")


def rollup_kg(connection):
    return connection.execute("SELECT net_weight_kg FROM mart.rollup_shogun_final_receive").fetchall()


def test_proof_names_what_differs_and_changes_nothing(cli, connection, changed_unnoticed):
    done = cli("proof", code=1)

    assert done.stderr.startswith(
        "mart.rollup_shogun_final_receive: 2 rows found that differ from a full recompute, 0 expected (2025-12-01); "
        "0 would differ after a repair. "
        "Run `mv-pipeline proof --repair`"
    )
    assert rollup_kg(connection) == [(5000,)]
    again = {record["name"]: record for record in json.loads(cli("proof", "--json", code=1).stdout)}
    assert again["mart.rollup_shogun_final_receive"] == {
        "name": "mart.rollup_shogun_final_receive",
        "rows": 2,
        "days": ["2025-12-01"],
        "rows_after": 0,
    }
    assert {name for name, record in again.items() if record["rows"]} == {"mart.rollup_shogun_final_receive"}


def test_proof_repairs_when_asked_and_then_finds_nothing(cli, connection, catalog, changed_unnoticed):
    cli("proof", "--repair", code=1)

    assert rollup_kg(connection) == [(9000,)]
    assert connection.execute(
        "SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = '2025-12-01'"
    ).fetchone() == (9,)
    records = json.loads(cli("proof", "--json").stdout)
    assert [record["name"] for record in records[len(catalog.rollups) :]] == [
        view.name for view in catalog.materialized_views
    ]
    assert {record["rows"] for record in records} == {0}


def test_proof_takes_no_waiting_change_for_a_difference(cli, connection):
    connection.execute(f"INSERT INTO stg.{KIND} (slip_date, net_weight) VALUES ('2025-12-01', 7000)")
    waiting = connection.execute("SELECT stored, relation, day FROM log.v_rollup_news ORDER BY 1").fetchall()
    assert waiting

    assert {record["rows"] for record in json.loads(cli("proof", "--json").stdout)} == {0}
    assert connection.execute("SELECT stored, relation, day FROM log.v_rollup_news ORDER BY 1").fetchall() == waiting


def test_doctor_names_what_is_wrong(cli, settings, connection):
    (settings.inbox_dir / "reciept").mkdir()
    connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
    age_changes(connection, minutes=16)

    found = json.loads(cli("doctor", "--json", code=1).stdout)

    sentences = {(diagnosis["level"], diagnosis["sentence"]) for diagnosis in found}
    left_alone = "「reciept」は取り込まれません reciept in the inbox is left alone (no folder of a CSV kind). "
    assert any(level == "warning" and text.startswith(left_alone) for level, text in sentences)
    check = "The check up_to_date of mart.mv_target_card_per_day failed. "
    assert any(level == "error" and text.startswith(check) for level, text in sentences)
    assert any(level == "warning" and text.startswith("The daemon has never run. ") for level, text in sentences)


@pytest.mark.parametrize("arguments", [("status",), ("refresh", "--all"), ("ingest", "--kind", KIND, "x.csv")])
def test_before_migrate_a_command_says_so(cli, server, arguments):
    url = create_database(server)

    done = cli(*arguments, code=1, MV_PIPELINE_DATABASE_URL=url)

    drop_database(server, url)
    assert done.stderr == "mv-pipeline: The database is empty. Run `mv-pipeline migrate`.\n"


def test_an_inbox_that_is_not_there_is_said_and_not_made(cli, tmp_path):
    done = cli("status", code=1, MV_PIPELINE_INBOX=str(tmp_path / "share"))

    assert f"There is no folder {tmp_path}/share." in done.stderr
    assert not (tmp_path / "share").exists()


def test_doctor_on_an_empty_database_says_migrate(cli, server):
    url = create_database(server)

    done = cli("doctor", code=1, MV_PIPELINE_DATABASE_URL=url)

    drop_database(server, url)
    assert "The database is empty. Run `mv-pipeline migrate`." in done.stdout


def test_the_demo_refuses_a_database_that_is_not_the_embedded_one(cli):
    assert "only runs on the embedded server" in cli("demo", code=1).stderr


@pytest.mark.parametrize(
    "command",
    [
        *("migrate", "ingest", "refresh", "backfill", "status", "uploads", "calendar", "url", "serve", "metrics"),
        *("dev", "demo", "doctor", "watch", "proof", "diff", "lint", "new"),
    ],
)
def test_every_command_has_help(command):
    done = CliRunner().invoke(app, [command, "--help"])

    assert done.exit_code == 0
    assert command in done.stdout


@pytest.fixture
def sql_dir(tmp_path):
    return shutil.copytree(PROJECT_ROOT / "sql", tmp_path / "sql")


def test_new_writes_a_file_that_the_lint_and_migrate_take(cli, sql_dir):
    path = sql_dir / "mart" / "mv_new.sql"

    done = cli("new", "mv", "mart.mv_new", MV_PIPELINE_SQL_DIR=str(sql_dir))
    linted = cli("lint", MV_PIPELINE_SQL_DIR=str(sql_dir))
    migrated = cli("migrate", MV_PIPELINE_SQL_DIR=str(sql_dir))
    again = cli("new", "mv", "mart.mv_new", code=1, MV_PIPELINE_SQL_DIR=str(sql_dir))

    assert done.stdout.startswith(f"{path}\n")
    assert linted.stdout == "Nothing is wrong with the SQL files.\n"
    assert "mart.mv_new: create" in migrated.stdout
    assert again.stderr == f"mv-pipeline: {path} exists already. Choose another name, or edit it.\n"


def test_version_is_the_projects(cli):
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]

    assert cli("--version").stdout == f"{project['name']} {project['version']}\n"


def test_lint_says_what_is_wrong_line_by_line_and_exits_1(cli, sql_dir):
    one, two = sql_dir / "mart" / "v_receive_daily.sql", sql_dir / "ref" / "v_item.sql"
    one.write_text(one.read_text(encoding="utf-8").replace("owner", "ovner"), encoding="utf-8")
    two.write_text("SELECT 1 AS one", encoding="utf-8")
    variables = {"MV_PIPELINE_SQL_DIR": str(sql_dir), "code": 1}

    everything = cli("lint", **variables).stdout.splitlines()
    some = cli("lint", two, **variables).stdout.splitlines()
    records = json.loads(cli("lint", "--json", **variables).stdout)
    elsewhere = cli("lint", "/etc/hosts", **variables).stderr

    assert [line.split(": ")[0] for line in everything] == [f"{one}:1", f"{one}:4", f"{two}:1"]
    assert some == everything[2:]
    assert [(r["file"], r["line"], r["rule"]) for r in records][2] == (str(two), 1, "header")
    assert records[1]["instead"] == "Write `owner`."
    assert "/etc/hosts is no file below" in elsewhere
    variables["MV_PIPELINE_SQL_DIR"] = str(sql_dir / "nowhere")
    assert "There is no SQL file below" in cli("lint", **variables).stderr
