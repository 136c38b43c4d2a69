"""What the pages name is there: commands, targets of make, pages, headings, files; what is generated is up to date."""

import re

import pytest
import typer
from typer._click.exceptions import UsageError

from mv_pipeline.cli.app import app
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.docs.generated import DOCS, PAGES, fill
from mv_pipeline_tests.docs.reading import anchors, commands, first_cells, links, read

PLACEHOLDERS = {"KIND": "shogun_final_receive", "SERVICE": "web", "D": "2025-12-01", "SERVICE…": "web"}
# The list that the guide adds.
PLACEHOLDERS |= {"shogun_final_disposal": "shogun_final_receive", "disposal": "receive"}
READMES = ("README.md", "README.ja.md")


def parse(arguments):
    """Parse a command line down to its last option; nothing is run. A name alone only has to be a command's."""
    group = typer.main.get_command(app)
    arguments = [PLACEHOLDERS.get(argument, argument) for argument in arguments]
    with group.make_context("mv-pipeline", arguments) as context:
        name, command, rest = group.resolve_command(context, arguments)
        if rest:
            command.make_context(name, rest, parent=context)


def dead_links(page):
    for link in links(page):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not re.match(r"https?:", link) and (not target.exists() or (heading and heading not in anchors(target))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_is_so(page, settings):
    text = read(page)
    targets = set(re.findall(r"^([a-z-]+):", read(PROJECT_ROOT / "Makefile"), re.MULTILINE))
    roots = ("mv_pipeline", "mv_pipeline_tests", "deploy", "bench", "docs")
    files = re.findall(rf"`((?:{'|'.join(roots)})/[\w./]+?)`", text)

    assert fill(text) == text, f"{page.name} is out of date. Run `make docs`."
    for call in commands(page, "mv-pipeline"):
        parse(call)
    assert {word for call in commands(page, "make") for word in call if re.fullmatch(r"[a-z-]+", word)} <= targets
    assert list(dead_links(page)) == []
    assert [name for name in files if not (PROJECT_ROOT / name).exists()] == []


@pytest.mark.parametrize("call", [["refreshh"], ["refresh", "--everything"], ["ingest", "a.csv"], ["serve", "db"]])
def test_what_is_no_command_would_be_found(call):
    with pytest.raises(UsageError):
        parse(call)


def test_the_docs_are_full_of_commands():
    named = {call[0] for page in PAGES for call in commands(page, "mv-pipeline")}

    assert {"migrate", "ingest", "refresh", "backfill", "status", "doctor", "serve", "dev", "demo"} <= named


@pytest.mark.parametrize("name", READMES)
def test_a_readme_leads_to_every_page_and_lists_every_command(name):
    readme = PROJECT_ROOT / name
    registered = {command.name for command in (*app.registered_commands, *app.registered_groups)}
    (listed,) = [cells for heading, *cells in first_cells(readme) if heading in ("command", "コマンド")]
    named = {span.split()[0] for cell in listed for span in re.findall("`([^`]+)`", cell)}

    assert [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in read(readme)] == []
    assert {command for command in named if not command.startswith("--")} == registered
