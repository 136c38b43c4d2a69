"""The parts of the documentation that are made from the code are those that the code gives now."""

import pytest

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.intake.rejection import MESSAGES, Code
from mv_pipeline.settings import Settings
from mv_pipeline_tests.docs.generated import DOCS, PAGES, PARTS, fill, parts_of


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_says_what_the_code_says(path, settings):
    text = path.read_text(encoding="utf-8")

    assert fill(text) == text, f"{path.name} is out of date. Run `make docs`."


def test_every_part_stands_on_one_page():
    standing = [name for path in PAGES for name in parts_of(path.read_text(encoding="utf-8"))]

    assert sorted(standing) == sorted(PARTS)


def test_the_pictures_hold_every_asset(settings, catalog):
    text = page("architecture.md")

    for name in [*catalog.relations, *(f"raw.{kind.name}" for kind in KINDS), *(f"stg.{kind.name}" for kind in KINDS)]:
        assert f'"{name}"' in text, name


@pytest.mark.parametrize(("reader", "read"), [("mart_mv_receive_daily", "mart_v_receive_source")])
def test_the_pictures_have_an_arrow_from_what_is_read_to_what_reads_it(reader, read):
    assert f"  {read} --> {reader}\n" in page("architecture.md")


@pytest.mark.parametrize("code", Code)
def test_the_offices_page_has_every_reason_for_a_rejection(code):
    assert f"| `{code}` | {MESSAGES[code][0]} |" in page("office.ja.md")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_offices_page_has_every_folder(kind):
    assert f"`inbox/{kind.name}/`" in page("office.ja.md")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_settings_page_has_every_setting(name):
    assert f"### `MV_PIPELINE_{name.upper()}`" in page("settings.md")


def test_what_is_written_by_hand_is_left_alone():
    text = "before\n<!-- made by `make docs`: folders -->\nof yesterday\n<!-- end -->\nafter\n"

    filled = fill(text)

    assert filled.startswith("before\n")
    assert filled.endswith("\n<!-- end -->\nafter\n")
    assert "of yesterday" not in filled
    assert fill(filled) == filled
