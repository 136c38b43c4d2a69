"""The relations that existing clients query: their names, columns, order and types don't change."""

from pathlib import Path

import pandas as pd
import pytest

from mv_pipeline_tests.sql.history import Plant

CONTRACT = pd.read_csv(
    Path(__file__).parents[1] / "contract" / "existing_tables.csv", keep_default_na=False, dtype={"position": int}
)
OBSOLETE = {"mart.v_sales_tree_daily", "mart.mv_sales_tree_daily"}
RELATIONS = {
    name: relation
    for name, relation in CONTRACT.groupby(CONTRACT["schema"] + "." + CONTRACT["relation"])
    if name not in OBSOLETE
}
RELKINDS = {"table": "r", "view": "v", "materialized view": "m"}

# Materialized views that the running database didn't have; their columns are in relations.md.
PROFILES = {
    "mart.mv_inb_avg5y_day_biz": [
        ("iso_week", "integer"),
        ("iso_dow", "integer"),
        ("ave", "numeric(14,4)"),
        ("sigma", "numeric(14,4)"),
        ("n", "bigint"),
        ("cv", "numeric(14,4)"),
        ("quality", "text"),
        ("updated_at", "timestamp with time zone"),
    ],
    "mart.mv_inb_avg5y_day_scope": [
        ("scope", "text"),
        ("iso_week", "integer"),
        ("iso_dow", "integer"),
        ("ave", "numeric(14,4)"),
        ("sigma", "numeric(14,4)"),
        ("n", "bigint"),
        ("cv", "numeric(14,4)"),
        ("criteria", "jsonb"),
        ("updated_at", "timestamp with time zone"),
    ],
    "mart.mv_inb_avg5y_weeksum_biz": [
        ("iso_week", "integer"),
        ("iso_dow", "integer"),
        ("ave", "numeric(14,2)"),
        ("sigma", "numeric(14,2)"),
        ("n", "bigint"),
        ("cv", "numeric(14,4)"),
        ("quality", "text"),
        ("updated_at", "timestamp with time zone"),
    ],
    "mart.mv_inb5y_week_profile_min": [
        ("iso_week", "integer"),
        ("normal_day_mean", "numeric(14,4)"),
        ("reservation_day_mean", "numeric(14,4)"),
        ("updated_at", "timestamp with time zone"),
    ],
}

KEYS = {
    "mart.mv_receive_daily": ["ddate"],
    "mart.mv_target_card_per_day": ["ddate"],
    "mart.mv_inb_avg5y_day_biz": ["iso_week", "iso_dow"],
    "mart.mv_inb_avg5y_day_scope": ["scope", "iso_week", "iso_dow"],
    "mart.mv_inb_avg5y_weeksum_biz": ["iso_week", "iso_dow"],
    "mart.mv_inb5y_week_profile_min": ["iso_week"],
    "mart.mv_shipment_daily": ["ddate"],
    "mart.mv_yard_daily": ["ddate"],
    "mart.mv_inbound_kpi_daily": ["ddate"],
}


@pytest.fixture(scope="module")
def columns(empty_plant: Plant) -> pd.DataFrame:
    return empty_plant.query(
        "SELECT n.nspname || '.' || c.relname AS name, c.relkind::text, a.attname, "
        "format_type(a.atttypid, a.atttypmod) AS pg_type, "
        "CASE WHEN a.attnotnull THEN 'no' ELSE 'yes' END AS nullable, "
        "CASE WHEN a.attgenerated = 's' THEN format('generated always as %s stored', pg_get_expr(d.adbin, d.adrelid)) "
        "ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), '') END AS default "
        "FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname IN ('raw', 'stg', 'ref', 'kpi', 'mart', 'log') "
        "AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY name, a.attnum"
    )


@pytest.fixture(scope="module")
def indexes(empty_plant: Plant) -> pd.DataFrame:
    return empty_plant.query(
        "SELECT i.indrelid::regclass::text AS name, i.indisunique AS is_unique, i.indpred IS NULL AS is_whole, "
        "ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) "
        "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY place) AS columns "
        "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid WHERE c.relkind = 'm'"
    )


def test_the_contract_names_the_six_raw_and_stg_tables_and_active_views() -> None:
    kinds = [
        f"shogun_{version}_{csv_type}" for version in ("flash", "final") for csv_type in ("receive", "shipment", "yard")
    ]
    for kind in kinds:
        assert {f"raw.{kind}", f"stg.{kind}", f"stg.v_active_{kind}"} <= RELATIONS.keys()


@pytest.mark.parametrize("name", RELATIONS)
def test_a_relation_of_the_running_database_is_there_column_for_column(name: str, columns: pd.DataFrame) -> None:
    promised = RELATIONS[name].sort_values("position")
    found = columns[columns["name"] == name]
    assert found["relkind"].unique().tolist() == [RELKINDS[kind] for kind in promised["kind"].unique()]
    assert found["attname"].tolist() == promised["column"].tolist()
    assert found["pg_type"].tolist() == promised["pg_type"].tolist()
    assert found["nullable"].tolist() == promised["nullable"].tolist()
    assert found["default"].tolist() == promised["default"].tolist()


@pytest.mark.parametrize("name", sorted(OBSOLETE))
def test_an_obsolete_relation_is_gone(name: str, columns: pd.DataFrame) -> None:
    assert name not in set(columns["name"])


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_the_columns_of_the_specification(name: str, columns: pd.DataFrame) -> None:
    found = columns[columns["name"] == name]
    assert found["relkind"].unique().tolist() == ["m"]
    assert list(zip(found["attname"], found["pg_type"], strict=True)) == PROFILES[name]


@pytest.mark.parametrize("name", KEYS)
def test_a_materialized_view_has_a_unique_index_on_its_key(name: str, indexes: pd.DataFrame) -> None:
    found = indexes[(indexes["name"] == name) & (indexes["is_unique"]) & (indexes["is_whole"])]
    assert KEYS[name] in found["columns"].tolist()


@pytest.mark.parametrize("name", ["mart.mv_receive_daily", "mart.mv_target_card_per_day"])
def test_a_daily_view_has_an_index_on_the_iso_week(name: str, indexes: pd.DataFrame) -> None:
    assert ["iso_year", "iso_week"] in indexes.loc[indexes["name"] == name, "columns"].tolist()


def test_every_materialized_view_is_in_these_tests(columns: pd.DataFrame) -> None:
    assert set(columns.loc[columns["relkind"] == "m", "name"]) == KEYS.keys()


def test_no_view_reads_a_clock_of_its_own(empty_plant: Plant) -> None:
    """ref.business_date() is the only clock that any view or materialized view reads."""
    clocks = empty_plant.query(
        "SELECT name FROM (SELECT schemaname || '.' || viewname AS name, definition FROM pg_views "
        "UNION ALL SELECT schemaname || '.' || matviewname, definition FROM pg_matviews) AS relations "
        "WHERE name ~ '^(raw|stg|ref|kpi|mart|log)[.]' AND definition ~* "
        r"'\m(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\(|"
        r"\m(current_(date|time|timestamp)|localtime|localtimestamp)\M'"
    )
    assert clocks["name"].tolist() == []
