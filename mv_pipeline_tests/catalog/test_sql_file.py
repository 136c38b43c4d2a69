"""The reader of SQL files: what is read from a file that can be used; the lint's tests have those that can't."""

import pytest
import sqlglot

from mv_pipeline.catalog.relations import parse_query
from mv_pipeline.catalog.sql_file import SqlFile, read_dashboards
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.settings import PROJECT_ROOT

CARD = "card: {title: 目標カード, description: 試験, description_en: A test., owner: team:x, reads: [mart.mv_x]}"


def test_the_line_of_the_select_and_of_each_field_are_the_files(tmp_path):
    path = tmp_path / "mart" / "v_x.sql"
    path.parent.mkdir()
    path.write_text("\n/*\n\nowner: team:x\nkey: [a]\n*/\n\nSELECT 1 AS a;\n", encoding="utf-8")
    file = SqlFile(path)

    relation = file.relation
    assert (relation.name, relation.line, relation.query) == ("mart.v_x", 8, "SELECT 1 AS a")
    assert file.field_lines == [("owner", 4), ("key", 5)]
    assert (relation.header.owner, relation.header.key, relation.output) == ("team:x", ("a",), ["a"])


def test_each_file_is_parsed_once_however_often_it_is_needed(monkeypatch):
    texts = []
    monkeypatch.setattr(
        sqlglot, "parse", lambda text, parse=sqlglot.parse, **of: texts.append(text) or parse(text, **of)
    )
    parse_query.cache_clear()
    for _ in range(2):
        catalog = load_catalog(PROJECT_ROOT / "sql")
        for relation in catalog.relations.values():
            assert relation.definition_hash
            assert relation.dependencies

    assert sorted(texts) == sorted({relation.query for relation in catalog.relations.values()})


def test_a_dashboard_has_a_name_and_reads_views(tmp_path):
    (tmp_path / "dashboards.yaml").write_text(CARD, encoding="utf-8")

    dashboards, violations = read_dashboards(tmp_path)
    (name,), (card,) = zip(*dashboards.items(), strict=True)
    assert (name, card.title, card.reads, violations) == ("card", "目標カード", ("mart.mv_x",), [])


def test_without_a_file_there_is_no_dashboard(tmp_path):
    assert read_dashboards(tmp_path) == ({}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("card: [", "is no YAML"),
        (CARD.replace("title", "name"), "card.title: Field required; card.name: Extra inputs"),
        ("card", "Input should be a valid dictionary"),
    ],
)
def test_a_wrong_file_of_dashboards_is_one_violation(tmp_path, text, message):
    (tmp_path / "dashboards.yaml").write_text(text, encoding="utf-8")

    dashboards, (violation,) = read_dashboards(tmp_path)

    assert dashboards == {}
    assert message in violation.message
    assert "\n" not in str(violation)
