"""The runbook and the pages on migrating: their SQL runs, and their sentences are those that the operator sees."""

import re
import subprocess

import pytest

from mv_pipeline.database.embedded import POSTGRES_BIN_PATH
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests import factory
from mv_pipeline_tests.docs.generated import DOCS
from mv_pipeline_tests.docs.reading import anchors, blocks, links, read

RUNBOOK = DOCS / "runbook.md"
POSTGRESQL = {
    "canceling statement due to lock timeout",
    "canceling statement due to statement timeout",
    "could not create unique index",
    "could not obtain lock on relation",
    "duplicate row",
    "must be able to SET ROLE",
    "must be owner of",
    "must be owner of view",
    "permission denied",
    "password authentication failed",
    "too many connections",
}


@pytest.mark.parametrize("name", ["runbook.md", "retention.md", "moving-in.md"])
def test_a_pages_sql_runs_as_it_is(connection, name):
    for block in blocks(DOCS / name, "sql"):
        with connection.transaction(force_rollback=True):
            for statement in block.split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())


def test_every_symptom_leads_to_what_to_do():
    headings = {link.removeprefix("#") for link in links(RUNBOOK) if link.startswith("#")}

    assert headings <= anchors(RUNBOOK)
    assert len(headings) == len(re.findall("^## ", read(RUNBOOK), re.MULTILINE))


@pytest.mark.parametrize("name", ["runbook.md", "moving-in.md", "changing-a-view.md"])
def test_a_sentence_that_a_page_quotes_is_one_of_ours_or_of_postgresql(name):
    texts = [path for path in (PROJECT_ROOT / "mv_pipeline").rglob("*.*") if path.suffix in (".py", ".yaml", ".sql")]
    ours = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    quoted = {" ".join(sentence.split()) for sentence in re.findall("“([^”]+)”", read(DOCS / name))} - POSTGRESQL

    unknown = [sentence for sentence in quoted if not all(part.strip(" ()") in ours for part in sentence.split("…"))]

    assert unknown == []


def shell_lines():
    return [line for block in blocks(RUNBOOK, "sh") for line in block.splitlines()]


def test_the_comparison_with_the_log_finds_what_was_not_loaded(settings, connection, tmp_path):
    for day in ("2025/12/01", "2025/12/02"):
        lines = [factory.line("shogun_final_receive", slip_date=day)]
        factory.take(connection, settings, lines, name=f"{day[-2:]}.csv")
    connection.execute("DELETE FROM log.upload_file WHERE file_name = '02.csv'")
    commands = [line for line in shell_lines() if line.endswith((" known", "> known"))]
    folder = {"MV_PIPELINE_HOME": str(settings.home)}
    known, compare = (line.replace("$(mv-pipeline url)", settings.resolved_database_url()) for line in commands)

    done = subprocess.run(
        ["sh", "-c", f"{known}\n{compare}"],
        cwd=tmp_path,
        env={**folder, "PATH": f"{POSTGRES_BIN_PATH}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert [line.rsplit("/", 1)[1] for line in done.stdout.splitlines()] == ["02.csv"], done.stderr


def test_the_archive_search_is_one_that_finds(tmp_path):
    """`-newerct` and `-printf` are GNU find's; the line has to work as it is."""
    folder = tmp_path / "archive" / "shogun_final_receive" / "2025-12"
    folder.mkdir(parents=True)
    for name in ("first.csv", "second.csv"):
        (folder / name).touch()
    line = next(line for line in shell_lines() if line.startswith("find "))

    done = subprocess.run(
        ["sh", "-c", line],
        env={"MV_PIPELINE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert [entry.rsplit("/", 1)[1] for entry in done.stdout.splitlines()] == ["first.csv", "second.csv"]
