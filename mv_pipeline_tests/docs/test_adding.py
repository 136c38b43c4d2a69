"""The walk-throughs: done as they are written, on copies of what they edit and a database that has been migrated."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from mv_pipeline.catalog.relations import Header
from mv_pipeline.catalog.sql_file import Rule
from mv_pipeline.catalog.sql_folder import lint, load_catalog
from mv_pipeline.catalog.template import write_template
from mv_pipeline.checks.recompute import prove_all
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.migrate.plan import plan
from mv_pipeline.operations.status import read_status
from mv_pipeline.settings import PROJECT_ROOT, OperatorError
from mv_pipeline_tests.docs.generated import DOCS
from mv_pipeline_tests.docs.reading import blocks, commands, read

VIEW = DOCS / "adding-a-view.md"
KIND = DOCS / "adding-a-kind.md"
NAME = "mart.mv_receive_weekly_tons"
ROLLUP, TOTAL = "mart.rollup_receive_by_item", "mart.mv_receive_item_total"
NEW_KIND = "shogun_final_disposal"
ID_SEQUENCE = "stg.shogun_flash_disposal_id_seq"


@pytest.fixture
def project(tmp_path):
    """A copy of what the walk-throughs edit."""
    folder = tmp_path / "project"
    for name in ("mv_pipeline", "sql"):
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    return folder


@pytest.fixture
def view(project):
    """The path of the view that the page writes, written."""
    return written(project, "mv_receive_weekly_tons", blocks(VIEW, "sql")[0])


def written(project, name, text):
    """The path of a file that the page names, with a block of it."""
    path = project / "sql" / "mart" / f"{name}.sql"
    assert f"`{path.relative_to(project)}`" in read(VIEW)
    path.write_text(text, encoding="utf-8")
    return path


def migrated(database, view):
    """What `mv-pipeline migrate` does with the copy's views."""
    result = migrate(database, load_catalog(view.parents[1]))
    return result.changed, result.dropped


@pytest.fixture
def lines(connection):
    """Final receive lines of three days in two months, one of them of no item and one of no day."""
    connection.execute(
        "INSERT INTO stg.shogun_final_receive (slip_date, item_cd, item_name, net_weight) VALUES "
        "('2025-11-30', 1, 'paper', 4000), ('2025-12-01', 1, 'paper', 1000), ('2025-12-01', 2, 'wood', 2000), "
        "('2025-12-01', 2, 'wood', 500), ('2025-12-02', NULL, NULL, 300), (NULL, 1, 'paper', 70)"
    )
    return connection


def test_adding_a_view(view, database, connection):
    assert migrated(database, view) == ({NAME: "create"}, [])
    assert migrated(database, view) == ({}, [])

    (status,) = [status for status in read_status(connection, load_catalog(view.parents[1])) if status.name == NAME]
    assert status.checks_passed == ["row_count", "key_unique", "up_to_date", "concurrent_index", "bloat", "whole_tons"]
    assert all(f"`{name}`" in read(VIEW) for name in status.checks_passed)
    weeks = connection.execute(
        "SELECT count(DISTINCT (iso_year, iso_week)) FROM ref.calendar_day WHERE ddate < ref.business_date()"
    ).fetchone()
    assert (status.rows,) == weeks


def test_adding_a_rollup_and_a_view_on_it(project, database, lines):
    _, rollup, view, _, _ = blocks(VIEW, "sql")
    path = write_template(
        project / "sql", *next(call[1:] for call in commands(VIEW, "mv-pipeline") if "rollup" in call)
    )
    assert lint(path.parents[1], picture_names()) == []
    assert written(project, "rollup_receive_by_item", rollup) == path
    written(project, "mv_receive_item_total", view)

    assert lint(path.parents[1], picture_names()) == []
    catalog = load_catalog(path.parents[1])
    assert f"`{plan(database, catalog).steps[0].what}`" in read(VIEW)
    assert migrated(database, path) == ({ROLLUP: "create", TOTAL: "create"}, [])
    assert migrated(database, path) == ({}, [])

    assert lines.execute(
        f"SELECT ddate::text, item, item_name, line_count, net_weight_kg FROM {ROLLUP} ORDER BY ddate, item"
    ).fetchall() == [
        ("2025-11-30", 1, "paper", 1, 4000),
        ("2025-12-01", 1, "paper", 1, 1000),
        ("2025-12-01", 2, "wood", 2, 2500),
        ("2025-12-02", 0, None, 1, 300),
    ]
    assert lines.execute(f"SELECT item, last_day::text, net_ton::float FROM {TOTAL} ORDER BY item").fetchall() == [
        (0, "2025-12-02", 0.3),
        (1, "2025-12-01", 5.0),
        (2, "2025-12-01", 2.5),
    ]
    proofs = dict(prove_all(database, catalog, repair=False))
    assert {name: proofs[name].before.rows for name in (ROLLUP, TOTAL)} == {ROLLUP: 0, TOTAL: 0}
    (status,) = (status for status in read_status(lines, catalog) if status.name == ROLLUP)
    assert status.checks_passed == ["notes_read", "storable"]
    assert all(f"`{check}`" in read(VIEW) for check in status.checks_passed)


def test_what_readers_see_of_a_rollup(project, database, lines):
    _, rollup, view, attempt, month = blocks(VIEW, "sql")
    written(project, "rollup_receive_by_item", rollup)
    written(project, "mv_receive_item_total", view)
    path = written(project, "rollup_receive_by_item_monthly", month)
    assert lint(path.parents[1], picture_names()) == []
    migrated(database, path)
    months = f"SELECT month::text, item, line_count, net_weight_kg FROM {ROLLUP}_monthly ORDER BY month, item"
    assert lines.execute(months).fetchall() == [
        *[("2025-11-01", 1, 1, 4000), ("2025-12-01", 0, 1, 300)],
        *[("2025-12-01", 1, 1, 1000), ("2025-12-01", 2, 2, 2500)],
    ]

    seen = []
    for statement in attempt.split(";"):
        if "ROLLBACK" in statement:
            assert lines.execute(months).fetchall() == [("2025-11-01", 1, 1, 4000), ("2025-12-01", 0, 1, 300)]
        cursor = lines.execute(re.sub("--.*", "", statement))
        seen += cursor.fetchall() if cursor.description else []

    assert [float(value) for (value,) in seen] == [0, 4.3]


def test_a_rollup_whose_key_doesnt_identify_its_rows_changes_nothing(project, database, lines):
    path = written(project, "rollup_receive_by_item", blocks(VIEW, "sql")[1].replace("coalesce(item_cd, 0)", "item_cd"))

    with pytest.raises(OperatorError, match=rf"{ROLLUP}: the key \(ddate, item\) doesn't identify its rows"):
        migrated(database, path)

    assert lines.execute("SELECT to_regclass(%s)", [ROLLUP]).fetchone() == (None,)


def test_the_readmes_view(project, database):
    (text,) = blocks(PROJECT_ROOT / "README.md", "sql")
    path = project / "sql" / "mart" / "mv_something.sql"
    path.write_text(text, encoding="utf-8")

    assert lint(path.parents[1], picture_names()) == []
    assert migrated(database, path) == ({"mart.mv_something": "create"}, [])


def test_changing_renaming_and_removing_a_view(view, database):
    migrated(database, view)
    text = view.read_text(encoding="utf-8")

    view.write_text(text := text.replace("owner: team:data-platform", "owner: team:plant"), encoding="utf-8")
    assert migrated(database, view) == ({}, [])

    view.write_text(text := text.replace("    min(ddate)", "  min(ddate) -- Monday\n"), encoding="utf-8")
    assert migrated(database, view) == ({}, [])

    view.write_text(text := text.replace("numeric(18, 3)", "numeric(18, 1)"), encoding="utf-8")
    assert set(migrated(database, view)[0]) == {NAME}

    renamed = view.with_name("mv_weekly_tons.sql")
    view.unlink()
    renamed.write_text(text.replace("mv_receive_weekly_tons", "mv_weekly_tons"), encoding="utf-8")
    assert migrated(database, view) == ({"mart.mv_weekly_tons": "create"}, [NAME])

    renamed.unlink()
    assert migrated(database, view) == ({}, ["mart.mv_weekly_tons"])


def test_the_page_explains_every_field_of_a_header_and_every_rule_of_the_lint():
    for name in (*Header.model_fields, *Rule):
        assert f"| `{name}` |" in read(VIEW), name


def test_the_lint_finds_nothing_in_the_pages_view(view):
    assert lint(view.parents[1], picture_names()) == []


@pytest.fixture
def python(project, settings, storage):
    """Run code with the copy's package, on the test's database; give what it prints, or its error if it should fail."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MV_PIPELINE")},
        "MV_PIPELINE_HOME": str(settings.home),
        "MV_PIPELINE_DATABASE_URL": settings.resolved_database_url(),
        "MV_PIPELINE_DAGSTER_URL": storage,
        "PYTHONPATH": str(project),
    }

    def run(code, *arguments, exit_code=0):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stderr if exit_code else done.stdout

    return run


@pytest.fixture
def command(python):
    """Run `mv-pipeline` of the copy."""
    return functools.partial(python, "from mv_pipeline.cli.app import main; main()")


@pytest.fixture
def kind(project, command):
    """The page's kind and view, put where the page says, and what `migrate` then printed."""
    (entry,) = blocks(KIND, "yaml")
    (view,) = blocks(KIND, "sql")
    with (project / "mv_pipeline" / "catalog" / "csv_kinds.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n{entry}")
    (project / "sql" / "mart" / "mv_disposal_daily.sql").write_text(view, encoding="utf-8")
    return command("migrate").splitlines()


def test_adding_a_kind(kind, project, command, settings, connection):
    (content,) = blocks(KIND, "csv")
    (ingest,) = [call for call in commands(KIND, "mv-pipeline") if call[0] == "ingest"]

    (project / "disposal.csv").write_text(content, encoding="cp932", newline="\r\n")
    (record,) = json.loads(command(*ingest, "--json"))

    assert {
        "stg.v_active_shogun_final_disposal: create",
        "mart.v_disposal_source: create",
        "mart.mv_disposal_daily: create",
    } <= set(kind)
    assert (settings.inbox_dir / "shogun_final_disposal").is_dir()
    assert (record["status"], record["rows"]) == ("success", 2)
    assert connection.execute(
        "SELECT slip_count, net_ton, amount_yen FROM mart.mv_disposal_daily WHERE ddate = '2025-12-01'"
    ).fetchone() == (2, 1.5, 35000)
    assert connection.execute("SELECT site_cd FROM stg.shogun_final_disposal ORDER BY id").fetchall() == [
        ("123",),
        ("A07",),
    ]
    calendar = json.loads(command("calendar", "--csv-type", "disposal", "--month", "2025-12", "--json"))
    assert [(day["ddate"], day["kind"], day["lines"]) for day in calendar if day["lines"]] == [
        ("2025-12-01", "shogun_final_disposal", 2)
    ]
    connection.execute("DELETE FROM stg.shogun_final_disposal")
    (backfill,) = [call for call in commands(KIND, "mv-pipeline") if call[:3] == ["backfill", "--kind", NEW_KIND]]
    (totals,) = json.loads(command(*backfill, "--json"))
    assert (totals["days"], totals["inserted"]) == (1, 2)


def test_adding_a_column_to_a_kind_that_has_data(kind, project, command, connection):
    with (project / "mv_pipeline" / "catalog" / "csv_kinds.yaml").open("a", encoding="utf-8") as file:
        file.write("    - {header: 備考, name: remark, type: text}\n")

    statements = re.findall(r"Add it: (ALTER TABLE .+ text)\.", command("migrate", exit_code=1))

    assert [statement.split()[2] for statement in statements] == [f"raw.{NEW_KIND}", f"stg.{NEW_KIND}"]
    for statement in statements:
        connection.execute(statement)
    assert command("migrate").splitlines() == [
        f"stg.v_active_{NEW_KIND}: swap",
        f"mart.rollup_{NEW_KIND}: swap",
        "mart.v_disposal_source: swap",
        "mart.v_source_days: swap",
        "mart.mv_disposal_daily: swap (1805 rows → 1805; 0 keys gone, 0 new)",
    ]


SEEN = """
import json
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.definitions import defs
from mv_pipeline.migrate.roles import wanted_privileges
from mv_pipeline.settings import load_settings

catalog = load_catalog(load_settings().sql_dir)
graph = defs().resolve_asset_graph()
keys = {key.to_user_string(): key for key in graph.get_all_asset_keys() if "disposal" in key.to_user_string()}
print(json.dumps({
    "parents": {name: sorted(p.to_user_string() for p in graph.get(key).parent_keys) for name, key in keys.items()},
    "partitioned": [name for name, key in keys.items() if graph.get(key).partitions_def],
    "checks": {name: [check.name for check in graph.get_check_keys_for_assets({key})] for name, key in keys.items()},
    "jobs": {
        job: [n for n, k in keys.items() if k in defs().resolve_job_def(job).asset_layer.executable_asset_keys]
        for job in ("ingest", "nightly")
    },
    "privileges": sorted({p.name for p in wanted_privileges(catalog, True) if "disposal" in p.name}),
}))
"""


def test_a_kinds_assets_checks_jobs_and_privileges_follow_from_its_entry(kind, python):
    seen = json.loads(python(SEEN))

    raw, stg, active = "raw/shogun_final_disposal", "stg/shogun_final_disposal", "stg/v_active_shogun_final_disposal"
    rollup, source, view = "mart/rollup_shogun_final_disposal", "mart/v_disposal_source", "mart/mv_disposal_daily"
    assert seen["parents"][stg] == [raw]
    assert seen["parents"][active] == [stg]
    assert seen["parents"][rollup] == [active]
    assert seen["parents"][source] == [rollup]
    assert seen["parents"][view] == [source, "ref/calendar_day"]
    assert seen["partitioned"] == [stg]
    assert "full_recompute" in seen["checks"][rollup]
    assert seen["checks"][raw] + seen["checks"][stg]
    assert {raw, stg, rollup, view} <= set(seen["jobs"]["ingest"])
    assert {rollup, view} <= set(seen["jobs"]["nightly"])
    (stored,) = [name for name in seen["privileges"] if name.startswith("rollup.")]
    assert re.fullmatch(rf"rollup\.rollup_{NEW_KIND}_[0-9a-f]{{8}}", stored)
    assert seen["privileges"] == sorted(
        [*(name.replace("/", ".") for name in (raw, stg, active, rollup, source, view)), stored, ID_SEQUENCE]
    )


SAMPLE = """
import json
from datetime import date
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Database
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.demo.sample import write_files
from mv_pipeline.settings import load_settings

settings = load_settings()
paths = [p for p in write_files(settings.inbox_dir, date(2025, 12, 10)) if p.parent.name == "shogun_final_disposal"]
with Database().connect() as connection:
    uploads = [take_file(connection, settings, find_kind(p.parent.name), p, "test") for p in paths]
print(json.dumps([(upload.status, upload.rows) for upload in uploads]))
"""


def test_a_kinds_sample_files_are_made_from_its_entry_and_load(kind, python, connection):
    uploads = json.loads(python(SAMPLE))

    assert len(uploads) == 4
    assert {status for status, _ in uploads} == {"loaded"}
    lines = connection.execute("SELECT count(*) FROM stg.v_active_shogun_final_disposal").fetchone()
    assert (sum(rows for _, rows in uploads),) == lines
    assert lines[0] > 100
