"""The runbook: its SQL runs, and its sentences are those that the operator sees."""

import re
import subprocess

import pytest

from mv_pipeline.refresh import read_staleness
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.docs.generated import DOCS
from mv_pipeline_tests.docs.reading import anchors, blocks, links, read

RUNBOOK = DOCS / "runbook.md"


@pytest.mark.parametrize("block", blocks(RUNBOOK, "sql"), ids=lambda block: block.split("\n")[0][:40])
def test_its_sql_runs_as_it_stands(connection, block):
    with connection.transaction(force_rollback=True):
        for statement in block.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())


def test_every_symptom_leads_to_what_to_do():
    headings = {link.removeprefix("#") for link in links(RUNBOOK) if link.startswith("#")}

    assert headings <= anchors(RUNBOOK)
    assert len(headings) == len(re.findall("^## ", read(RUNBOOK), re.MULTILINE))


@pytest.mark.parametrize("sentence", sorted(set(re.findall("“([^”]+)”", read(RUNBOOK)))))
def test_a_sentence_that_it_quotes_is_one_of_ours_or_of_postgresql(sentence):
    ours = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "mv_pipeline").rglob("*.py"))
    postgresql = {
        "canceling statement due to lock timeout",
        "canceling statement due to statement timeout",
        "could not create unique index",
        "duplicate row",
        "password authentication failed",
        "too many connections",
    }

    assert sentence in postgresql or all(piece.strip(" ()") in ours for piece in sentence.split("…"))


def test_what_it_promises_of_a_restored_database_is_so(connection, catalog):
    """A dump holds notes and snapshots in another server's numbers; without them nothing counts as fresh."""
    names = [view.name for view in catalog.materialized_views]
    # As after a restore on a server whose transactions are far behind.
    connection.execute("UPDATE log.view_refresh SET snapshot = '9000000000:9000000000:'")
    connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
    assert read_staleness(connection, catalog).views == []

    (truncate,) = [block for block in blocks(RUNBOOK, "sql") if "TRUNCATE" in block]
    connection.execute(truncate.encode())

    assert read_staleness(connection, catalog).views == names


def test_the_archive_search_is_one_that_finds(tmp_path):
    """`-newerct` and `-printf` are GNU find's; the line has to work as it stands."""
    folder = tmp_path / "archive" / "shogun_final_receive" / "2025-12"
    folder.mkdir(parents=True)
    for name in ("first.csv", "second.csv"):
        (folder / name).touch()
    (line,) = [line for block in blocks(RUNBOOK, "sh") for line in block.splitlines() if line.startswith("find ")]

    done = subprocess.run(
        ["sh", "-c", line],
        env={"MV_PIPELINE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert [entry.rsplit("/", 1)[1] for entry in done.stdout.splitlines()] == ["first.csv", "second.csv"]
