"""The walk-throughs: done as they are written, on copies of what they edit and a database that has been migrated."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from mv_pipeline.catalog.kinds import KINDS
from mv_pipeline.catalog.relations import Header, load_catalog
from mv_pipeline.cli.status import read_status
from mv_pipeline.schema.migrate import migrate
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.conftest import create_database, drop_database
from mv_pipeline_tests.docs.generated import DOCS
from mv_pipeline_tests.docs.reading import blocks, commands, read

VIEW = DOCS / "adding-a-view.md"
KIND = DOCS / "adding-a-kind.md"
NAME = "mart.mv_receive_weekly_tons"


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
    (text,) = blocks(VIEW, "sql")
    path = project / "sql" / "mart" / "mv_receive_weekly_tons.sql"
    assert f"`{path.relative_to(project)}`" in read(VIEW)
    path.write_text(text, encoding="utf-8")
    return path


def migrated(database, view):
    """What `mv-pipeline migrate` does with the copy's views."""
    result = migrate(database, load_catalog(view.parents[1]))
    return result.changed, result.dropped


def test_adding_a_view(view, database, connection):
    assert migrated(database, view) == ({NAME: "create"}, [])
    assert migrated(database, view) == ({}, [])

    (status,) = [status for status in read_status(connection, load_catalog(view.parents[1])) if status.name == NAME]
    assert status.checks_passed == ["row_count", "key_unique", "up_to_date", "concurrent_index", "whole_tons"]
    assert all(f"`{name}`" in read(VIEW) for name in status.checks_passed)
    weeks = connection.execute(
        "SELECT count(DISTINCT (iso_year, iso_week)) FROM ref.calendar_day WHERE ddate < ref.business_date()"
    ).fetchone()
    assert (status.rows,) == weeks


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


@pytest.mark.parametrize("field", Header.model_fields)
def test_the_page_explains_every_field_of_a_header(field):
    assert f"| `{field}` |" in read(VIEW)


@pytest.fixture
def storage(server):
    url = create_database(server)
    yield url
    drop_database(server, url)


@pytest.fixture
def command(project, settings, storage):
    """Run `mv-pipeline` of the copy on the test's database."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MV_PIPELINE")},
        "MV_PIPELINE_HOME": str(settings.home),
        "MV_PIPELINE_DATABASE_URL": settings.resolved_database_url(),
        "MV_PIPELINE_DAGSTER_URL": storage,
        "PYTHONPATH": str(project),
    }

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", "from mv_pipeline.cli.app import main; main()", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_adding_a_kind(project, command, settings, connection):
    the_list, the_entry = blocks(KIND, "python")
    (view,) = blocks(KIND, "sql")
    (content,) = blocks(KIND, "csv")
    (ingest,) = [call for call in commands(KIND, "mv-pipeline") if call[0] == "ingest"]
    kinds = project / "mv_pipeline" / "catalog" / "kinds.py"
    text = kinds.read_text(encoding="utf-8")
    text = text.replace("KINDS: tuple[Kind, ...] = (\n", f"{the_list}\nKINDS: tuple[Kind, ...] = (\n")
    last = f'    Kind("{KINDS[-1].version}", {KINDS[-1].list.csv_type.upper()}, priority={KINDS[-1].priority}),\n'
    assert text.count(last) == 1
    kinds.write_text(text.replace(last, last + f"    {the_entry.strip()},\n"), encoding="utf-8")
    (project / "sql" / "mart" / "mv_disposal_daily.sql").write_text(view, encoding="utf-8")

    created = command("migrate").splitlines()
    (project / "disposal.csv").write_text(content, encoding="cp932", newline="\r\n")
    (record,) = json.loads(command(*ingest, "--json"))

    assert {
        "stg.v_active_shogun_final_disposal: create",
        "mart.v_disposal_source: create",
        "mart.mv_disposal_daily: create",
    } <= set(created)
    assert (settings.inbox_dir / "shogun_final_disposal").is_dir()
    assert (record["status"], record["rows"]) == ("success", 2)
    assert connection.execute(
        "SELECT slip_count, net_ton, amount_yen FROM mart.mv_disposal_daily WHERE ddate = '2025-12-01'"
    ).fetchone() == (2, 1.5, 35000)
    assert connection.execute("SELECT site_cd FROM stg.shogun_final_disposal ORDER BY id").fetchall() == [
        ("123",),
        ("A07",),
    ]
