"""What the pages name is there: commands, targets of make, pages, headings, files and tests."""

import re

import pytest
import typer
from typer._click.exceptions import UsageError

from mv_pipeline.cli.app import app
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.docs.generated import DOCS, PAGES
from mv_pipeline_tests.docs.reading import anchors, commands, links, read

PLACEHOLDERS = {"KIND": "shogun_final_receive", "SERVICE": "web", "D": "2025-12-01", "SERVICE…": "web"}
# The list that the guide adds.
PLACEHOLDERS |= {"shogun_final_disposal": "shogun_final_receive", "disposal": "receive"}
CALLS = [(page.name, call) for page in PAGES for call in commands(page, "mv-pipeline")]


def parse(arguments):
    """Parse a command line down to its last option; nothing is run. A name alone only has to be a command's."""
    group = typer.main.get_command(app)
    arguments = [PLACEHOLDERS.get(argument, argument) for argument in arguments]
    with group.make_context("mv-pipeline", arguments) as context:
        name, command, rest = group.resolve_command(context, arguments)
        if rest:
            command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    ("page", "call"), CALLS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_a_command_in_the_docs_is_one(page, call):
    parse(call)


@pytest.mark.parametrize("call", [["refreshh"], ["refresh", "--everything"], ["ingest", "a.csv"], ["serve", "db"]])
def test_what_is_no_command_would_be_found(call):
    with pytest.raises(UsageError):
        parse(call)


def test_the_docs_are_full_of_commands():
    named = {call[0] for _, call in CALLS}

    assert {"migrate", "ingest", "refresh", "backfill", "status", "doctor", "serve", "dev", "demo"} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_target_of_make_is_one(page):
    targets = set(re.findall(r"^([a-z-]+):", read(PROJECT_ROOT / "Makefile"), re.MULTILINE))

    named = {word for call in commands(page, "make") for word in call if re.fullmatch(r"[a-z-]+", word)}

    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page):
    for link in links(page):
        if re.match(r"https?:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_of_the_project_that_a_page_names_is_there(page):
    roots = ("mv_pipeline", "mv_pipeline_tests", "deploy", "bench", "docs")
    named = re.findall(rf"`((?:{'|'.join(roots)})/[\w./]+?)`", read(page))

    assert [name for name in named if not (PROJECT_ROOT / name).exists()] == []


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_each_readme_leads_to_every_page(readme, page):
    assert f"(docs/{page.name})" in read(PROJECT_ROOT / readme)
