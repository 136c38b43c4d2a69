"""SQL files: what is read from header and SQL, and what the catalogue says of all of them."""

from pathlib import Path

import pytest

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.catalog.sql_file import SqlFile
from mv_pipeline.catalog.sql_folder import CatalogError, load_catalog

HEADER = """\
/*
description: 試験
description_en: A test.
owner: team:data-platform
key: [ddate]
criticality: optional
*/
"""


def write(folder: Path, name: str, text: str) -> Path:
    schema, table = name.split(".")
    path = folder / schema / f"{table}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def relation(folder: Path, query: str, name: str = "mart.mv_x") -> Relation:
    return read(write(folder, name, HEADER + query))


def read(path: Path) -> Relation:
    return SqlFile(path).relation


def test_a_relation_is_named_after_its_file(tmp_path):
    found = relation(tmp_path, "SELECT ddate FROM ref.calendar_day")

    assert (found.name, found.kind, found.header.key) == ("mart.mv_x", "materialized view", ("ddate",))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT ddate FROM ref.calendar_day", {"ref.calendar_day"}),
        (
            "SELECT a.ddate FROM ref.a AS a JOIN mart.b USING (ddate) LEFT JOIN mart.c ON true",
            {"ref.a", "mart.b", "mart.c"},
        ),
        ("WITH b AS (SELECT * FROM mart.a) SELECT * FROM b", {"mart.a"}),
        (
            "SELECT (SELECT max(x) FROM mart.a) FROM mart.b WHERE EXISTS (SELECT FROM mart.c)",
            {"mart.a", "mart.b", "mart.c"},
        ),
        ("SELECT * FROM mart.a UNION ALL SELECT * FROM mart.b", {"mart.a", "mart.b"}),
        ("SELECT * FROM mart.a, LATERAL (SELECT * FROM mart.b WHERE b.x = a.x) AS l", {"mart.a", "mart.b"}),
        ("WITH a AS (SELECT * FROM mart.a) SELECT * FROM a", {"mart.a"}),
    ],
)
def test_dependencies_are_read_from_the_sql(tmp_path, query, expected):
    assert relation(tmp_path, query).dependencies == expected


@pytest.mark.parametrize("query", ["SELECT 1 FROM mart.a", "select 1\n\n  from mart.a -- a comment\n"])
def test_the_hash_ignores_comments_blanks_and_case_of_keywords(tmp_path, query):
    plain = relation(tmp_path, "SELECT 1 FROM mart.a")

    assert relation(tmp_path, query).definition_hash == plain.definition_hash


def test_the_hash_changes_with_the_query_and_with_the_key(tmp_path):
    first = relation(tmp_path, "SELECT ddate, y FROM mart.a")
    other_query = relation(tmp_path, "SELECT ddate, m AS y FROM mart.a")
    other_key = read(
        write(tmp_path, "mart.mv_x", HEADER.replace("[ddate]", "[ddate, y]") + "SELECT ddate, y FROM mart.a")
    )

    assert len({first.definition_hash, other_query.definition_hash, other_key.definition_hash}) == 3


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="no SQL file"):
        load_catalog(tmp_path)


def test_every_relation_comes_after_what_it_reads(catalog):
    seen: set[str] = set()
    for name, found in catalog.relations.items():
        assert found.dependencies & catalog.relations.keys() <= seen
        seen.add(name)


def test_the_lineage_reaches_through_rollups_to_the_staging_tables(catalog):
    upstream = catalog.upstream("mart.mv_target_card_per_day")

    assert {
        "mart.mv_receive_daily",
        "mart.rollup_shogun_final_receive",
        "mart.rollup_king_receive",
        "stg.shogun_final_receive",
        "stg.receive_king_final",
        "mart.daily_target_plan",
        "ref.holiday_jp",
    } <= upstream
    assert not {name for name in upstream if "yard" in name or "shipment" in name}


def test_no_materialized_view_reads_staging_past_the_rollup(catalog):
    for view in catalog.materialized_views:
        reads = set(view.dependencies)
        for name in view.dependencies:
            reads |= catalog.inputs(name)
        assert not {name for name in reads if name.startswith("stg.")}


def test_the_clock_is_known_where_it_is_read_and_downstream_of_it(catalog):
    assert catalog.relations["mart.mv_receive_daily"].reads_business_date
    assert catalog.reads_business_date("mart.v_receive_weekly")
    assert not catalog.reads_business_date("ref.v_calendar_classified")
