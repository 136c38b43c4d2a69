"""The parts of the documentation that are made from the code, and lists that have to be complete.

Whether a part is out of date is said by `test_pages`.
"""

import re

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.cli.services import Service
from mv_pipeline.definitions import defs
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.migrate.roles import PIPELINE, wanted_privileges
from mv_pipeline.operations.problem import ProblemType
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.docs.generated import DOCS, PAGES, PARTS, fill, parts_of
from mv_pipeline_tests.docs.reading import first_cells, read
from mv_pipeline_tests.faults.worker import BOUNDARIES


def test_every_part_is_on_one_page():
    assert sorted(name for path in PAGES for name in parts_of(read(path))) == sorted(PARTS)


def test_what_is_written_by_hand_is_left_alone():
    text = "before\n<!-- made by `make docs`: folders -->\nof yesterday\n<!-- end -->\nafter\n"

    filled = fill(text)

    assert filled.startswith("before\n")
    assert filled.endswith("\n<!-- end -->\nafter\n")
    assert "of yesterday" not in filled
    assert fill(filled) == filled


def test_the_graph_holds_every_asset_and_an_arrow_to_what_reads_it(catalog):
    text = read(DOCS / "architecture.md")

    for name in [*catalog.relations, *(f"raw.{kind.name}" for kind in KINDS), *(f"stg.{kind.name}" for kind in KINDS)]:
        assert f'"{name}"' in text, name
    assert "  mart_v_receive_source --> mart_mv_receive_daily\n" in text


def test_the_page_of_the_architecture_has_every_process():
    (processes,) = [cells for heading, *cells in first_cells(DOCS / "architecture.md") if heading == "process"]

    assert {f"`mv-pipeline serve {service}`" for service in Service} <= set(processes)
    assert any("mv-pipeline-watch.timer" in process for process in processes)


def test_the_page_on_access_has_every_right_of_the_pipeline_on_a_table(catalog):
    """Views aren't counted: their one right is a matter of the server's version."""
    stored = [rollup.stored for rollup in catalog.rollups]
    wanted: dict[str, set[str]] = {}
    for of in wanted_privileges(catalog, maintain=True):
        if (of.role, of.kind) == (PIPELINE, "TABLE") and of.right not in ("SELECT", "MAINTAIN"):
            layer, _, name = of.name.partition(".")
            of_kind = name in {kind.name for kind in KINDS}
            shown = f"{layer}.<kind>" if of_kind else "rollup.*" if of.name in stored else of.name
            wanted.setdefault(shown, set()).add(of.right)
    row = r"^\| (`(?:raw|stg|ref|log|mart|rollup)\..+?`) \| ([A-Z, ]+) \|"
    rows = re.findall(row, read(DOCS / "access.md"), re.MULTILINE)
    said = {name: set(rights.split(", ")) for names, rights in rows for name in re.findall("`(.+?)`", names)}

    assert {name: rights for name, rights in said.items() if rights != {"MAINTAIN"}} == wanted


def test_the_offices_page_has_every_folder_and_every_reason_for_a_rejection():
    text = read(DOCS / "office.ja.md")

    assert [kind.name for kind in KINDS if f"`inbox/{kind.name}/`" not in text] == []
    assert [code for code in MESSAGES if f"| `{code}` | {MESSAGES[code][0]} |" not in text] == []


def test_the_page_on_reliability_names_tests_that_are_there():
    text = read(DOCS / "reliability.md")
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))

    assert [name for name in named if not (PROJECT_ROOT / "mv_pipeline_tests" / name).exists()] == []
    assert f"{len(BOUNDARIES)} named boundaries" in text


def test_the_settings_page_has_every_setting():
    headings = re.findall(r"^### `MV_PIPELINE_(\w+)`$", read(DOCS / "settings.md"), re.MULTILINE)

    assert headings == [name.upper() for name in Settings.model_fields]


def test_the_page_of_alerts_has_every_type_of_problem_and_says_in_words_how_often_and_from_when_on(settings):
    text = read(DOCS / "alerts.md")
    every = defs().resolve_sensor_def("alerts").minimum_interval_seconds
    timer = read(PROJECT_ROOT / "deploy" / "systemd" / "mv-pipeline-watch.timer")
    (types,) = [cells for heading, *cells in first_cells(DOCS / "alerts.md") if "`run_failed`" in cells]

    assert types == [f"`{problem_type}`" for problem_type in ProblemType]
    assert f"inspects everything every {every} seconds" in text
    assert ("OnCalendar=*:0/2" in timer, "`*/2 * * * * /opt" in text) == (True, True)
    assert "| `daemon_gone` | no sign of life for 3 minutes |" in text
    assert "| operator | failure | 45 seconds | The database and the database of Dagster can be reached. |" in text
