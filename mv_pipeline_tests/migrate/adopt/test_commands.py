"""`mv-pipeline migrate --plan` and `mv-pipeline diff` as somebody uses them who is about to move in."""

import json
import subprocess
from collections.abc import Callable

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database
from mv_pipeline.migrate.migrate import plan
from mv_pipeline.settings import Settings
from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.migrate.adopt import observed
from mv_pipeline_tests.migrate.adopt.test_compatibility import INCOMPATIBILITIES, says

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(settings: Settings) -> Run:
    """Run `mv-pipeline` on the running database, which the environment names."""
    return call_command


def test_the_plan_is_shown_and_nothing_is_done(
    cli: Run, database: Database, connection: Connection, catalog: Catalog
) -> None:
    planned = plan(database, catalog)
    before = observed.snapshot(connection)

    text, machine = cli("migrate", "--plan"), cli("migrate", "--plan", "--json")

    assert (text.returncode, machine.returncode) == (0, 0), text.stderr + machine.stderr
    shown = " ".join(text.stdout.split())
    for step in planned.steps:
        assert " ".join(step.what.split()) in shown
        assert " ".join(step.why.split()) in shown
        assert step.lock in shown
    assert json.loads(machine.stdout) == {
        "steps": [{"what": step.what, "why": step.why, "lock": step.lock} for step in planned.steps],
        "remarks": planned.remarks,
    }
    assert observed.snapshot(connection) == before


@pytest.mark.moved
def test_the_plan_of_an_up_to_date_database_says_that_nothing_is_to_do(
    cli: Run, database: Database, catalog: Catalog
) -> None:
    assert "othing to do" in cli("migrate", "--plan").stdout
    assert json.loads(cli("migrate", "--plan", "--json").stdout)["steps"] == []


def test_each_incompatibility_is_a_line_of_its_own(cli: Run, connection: Connection) -> None:
    incompatibilities = ["a missing column", "a day that is a holiday twice"]
    for incompatibility in incompatibilities:
        connection.execute(INCOMPATIBILITIES[incompatibility][0].encode())

    done = cli("migrate")

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for incompatibility in incompatibilities:
        assert sum(says(line, INCOMPATIBILITIES[incompatibility][1]) for line in done.stderr.splitlines()) == 1, (
            done.stderr
        )


@pytest.mark.moved
def test_diff_shows_old_against_new_and_rows_that_change(
    cli: Run, database: Database, connection: Connection, catalog: Catalog
) -> None:
    name = "mart.v_receive_daily"
    query = f"CREATE OR REPLACE VIEW {name} AS {catalog.relations[name].query} WHERE ddate <> '2024-02-29'"
    connection.execute(query.encode())

    done = cli("diff", name)

    assert "<> '2024-02-29'" in done.stdout, done.stdout + done.stderr
    # The definition names the day once, the sample of rows once more.
    assert done.stdout.count("2024-02-29") > 1, done.stdout


@pytest.mark.moved
def test_diff_of_a_view_that_is_as_its_file_says_shows_no_difference(
    cli: Run, database: Database, catalog: Catalog
) -> None:
    done = cli("diff", "mart.v_receive_daily")

    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith(("+", "-"))]
