"""SQL files: what is read from header and SQL, and how a wrong file is refused."""

from pathlib import Path

import pytest

from mv_pipeline.catalog.relations import Catalog, Relation, RelationError, load_catalog, read_relation

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
    return read_relation(write(folder, name, HEADER + query))


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


def test_a_dashboard_that_reads_nothing_that_exists_is_refused(tmp_path):
    write(tmp_path, "mart.mv_x", HEADER + "SELECT ddate FROM ref.calendar_day")
    text = "card: {title: t, description: d, description_en: e, owner: team:x, reads: [mart.mv_x, mart.mv_gone]}"
    (tmp_path / "dashboards.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(RelationError, match=r"The dashboard card reads what doesn't exist: mart\.mv_gone\."):
        load_catalog(tmp_path)


def test_an_anomaly_names_days_that_exist(tmp_path):
    header = HEADER.replace("criticality", "anomaly: {days: mart.v_gone, tons: t, where: 'true'}\ncriticality")
    write(tmp_path, "mart.mv_x", header + "SELECT ddate FROM ref.calendar_day")

    with pytest.raises(RelationError, match=r"mart\.mv_x refers to what doesn't exist: mart\.v_gone\."):
        load_catalog(tmp_path)


def test_a_relation_without_schema_is_refused(tmp_path):
    with pytest.raises(RelationError, match="write “calendar_day” with its schema"):
        _ = relation(tmp_path, "SELECT ddate FROM calendar_day").dependencies


@pytest.mark.parametrize("query", ["SELECT 1 FROM mart.a", "select 1\n\n  from mart.a -- a comment\n"])
def test_the_hash_ignores_comments_blanks_and_case_of_keywords(tmp_path, query):
    plain = relation(tmp_path, "SELECT 1 FROM mart.a")

    assert relation(tmp_path, query).definition_hash == plain.definition_hash


def test_the_hash_changes_with_the_query_and_with_the_key(tmp_path):
    first = relation(tmp_path, "SELECT ddate, y FROM mart.a")
    other_query = relation(tmp_path, "SELECT ddate, m AS y FROM mart.a")
    other_key = read_relation(
        write(tmp_path, "mart.mv_x", HEADER.replace("[ddate]", "[ddate, y]") + "SELECT ddate, y FROM mart.a")
    )

    assert len({first.definition_hash, other_query.definition_hash, other_key.definition_hash}) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1", "has to begin with a header"),
        (HEADER.replace("key: [ddate]\n", "") + "SELECT 1", "states its `key`"),
        (HEADER.replace("optional", "vital") + "SELECT 1", "criticality: Input should be 'critical' or 'optional'"),
        (HEADER.replace("owner:", "ovner:") + "SELECT 1", "owner: Field required; ovner: Extra inputs"),
        (HEADER.replace("description: 試験", "description: 試験: 二") + "SELECT 1", "no YAML"),
        (HEADER.replace("key: [ddate]", "key: [a, b]\ndays: calendar") + "SELECT 1", "need a key of one column"),
    ],
)
def test_a_wrong_header_is_refused_with_the_reason(tmp_path, text, reason):
    with pytest.raises(RelationError, match=reason):
        read_relation(write(tmp_path, "mart.mv_x", text))


@pytest.mark.parametrize(
    ("query", "reason"), [("SELECT FROM WHERE (", "can't be read"), ("DROP TABLE mart.a", "one SELECT")]
)
def test_what_is_no_select_is_refused(tmp_path, query, reason):
    with pytest.raises(RelationError, match=reason):
        _ = relation(tmp_path, query).dependencies


def test_an_unknown_relation_is_named(tmp_path):
    with pytest.raises(RelationError, match=r"mart\.mv_x refers to what doesn't exist: mart\.nowhere"):
        Catalog([relation(tmp_path, "SELECT ddate FROM mart.nowhere")])


def test_a_circle_is_refused(tmp_path):
    one = relation(tmp_path, "SELECT ddate FROM mart.mv_two", "mart.mv_one")
    two = relation(tmp_path, "SELECT ddate FROM mart.mv_one", "mart.mv_two")

    with pytest.raises(RelationError, match=r"circle: .*mart\.mv_one"):
        Catalog([one, two])


def test_a_critical_view_may_not_read_an_optional_one(tmp_path):
    write(tmp_path, "mart.mv_a", HEADER + "SELECT 1 AS ddate")
    write(tmp_path, "mart.v_b", HEADER + "SELECT ddate FROM mart.mv_a")
    write(tmp_path, "mart.mv_c", HEADER.replace(": optional", ": critical") + "SELECT ddate FROM mart.v_b")

    with pytest.raises(RelationError, match=r"mart\.mv_c is critical but reads mart\.mv_a, which is optional"):
        load_catalog(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(RelationError, match="no SQL file"):
        load_catalog(tmp_path)


def test_every_relation_stands_behind_what_it_reads(catalog):
    seen: set[str] = set()
    for name, found in catalog.relations.items():
        assert found.dependencies & catalog.relations.keys() <= seen
        seen.add(name)


def test_the_lineage_reaches_through_the_rollup_to_the_staging_tables(catalog):
    upstream = catalog.upstream("mart.mv_target_card_per_day")

    assert {
        "mart.mv_receive_daily",
        "mart.rollup_daily_receive",
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
