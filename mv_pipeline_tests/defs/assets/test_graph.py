"""The graph: headline assets, where they hang, and that it goes one way."""

import graphlib

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS


@pytest.fixture
def graph(definitions):
    return definitions.resolve_asset_graph()


def key(name):
    return dg.AssetKey(name.split("/"))


def parents(graph, name):
    return {parent.to_user_string() for parent in graph.get(key(name)).parent_keys}


def test_the_definitions_load(definitions):
    dg.Definitions.validate_loadable(definitions)


def test_every_table_and_view_is_an_asset(graph, catalog):
    keys = {asset.to_user_string() for asset in graph.get_all_asset_keys()}

    assert {f"raw/shogun_{v}_{t}" for v in ("flash", "final") for t in ("receive", "shipment", "yard")} <= keys
    assert {f"stg/shogun_{v}_{t}" for v in ("flash", "final") for t in ("receive", "shipment", "yard")} <= keys
    assert {name.replace(".", "/") for name in catalog.relations} <= keys
    assert {
        "mart/rollup_shogun_final_receive",
        "mart/rollup_shogun_flash_shipment",
        "mart/rollup_king_receive",
        "ref/calendar_day",
        "ref/holiday_jp",
        "mart/daily_target_plan",
        "kpi/monthly_targets",
        "stg/receive_king_final",
    } <= keys


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stg/shogun_final_receive", {"raw/shogun_final_receive"}),
        (
            "mart/v_receive_source",
            {"mart/rollup_shogun_final_receive", "mart/rollup_shogun_flash_receive", "mart/rollup_king_receive"},
        ),
        ("mart/rollup_shogun_final_receive", {"stg/v_active_shogun_final_receive"}),
        ("mart/rollup_king_receive", {"stg/v_king_receive_clean"}),
        ("mart/mv_receive_daily", {"ref/v_calendar_classified", "mart/v_receive_source"}),
        ("mart/v_receive_daily", {"mart/mv_receive_daily"}),
        ("mart/mv_target_card_per_day", {"mart/v_target_card_per_day"}),
        ("mart/mv_inb_avg5y_day_biz", {"mart/v_inb5y_days"}),
    ],
)
def test_headline_assets_hang_where_their_sql_says(graph, name, expected):
    assert parents(graph, name) == expected


def test_the_graph_has_no_circle_and_no_loose_end(graph):
    lineage = {asset: graph.get(asset).parent_keys for asset in graph.get_all_asset_keys()}

    graphlib.TopologicalSorter(lineage).prepare()
    assert all(parent in lineage for found in lineage.values() for parent in found)


def test_every_asset_says_what_it_is(graph):
    for asset in graph.get_all_asset_keys():
        node = graph.get(asset)
        assert node.group_name in {
            "inputs",
            "intake",
            "staging",
            "rollup",
            "materialized_views",
            "views",
            "reference",
            "dashboards",
            "overview",
            "housekeeping",
        }, asset
        assert node.owners, asset
        assert node.kinds, asset
        assert node.description, asset
        assert any("぀" <= letter <= "鿿" for letter in node.description), asset
        if node.group_name not in ("dashboards", "overview", "housekeeping"):
            assert node.metadata["dagster/table_name"] == ".".join(asset.path), asset


def test_the_graph_ends_where_people_read(graph):
    ends = {asset.to_user_string() for asset in graph.get_all_asset_keys() if not graph.get(asset).child_keys}

    assert ends == {
        *(f"dashboards/{name}" for name in ("target_card", "inbound", "shipment_and_yard", "sales_tree")),
        "dashboards/inbound_forecast",
        "overview/upload_calendar",
        "overview/view_pages",
        "ref/closure_membership",
        "housekeeping/retention",
    }
    assert parents(graph, "dashboards/target_card") == {"mart/mv_target_card_per_day"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("mv_target_card_per_day", "Latest days and picture"), ("mv_yard_daily", "Latest days")],
)
def test_a_materialized_views_description_leads_to_its_latest_days(graph, name, words):
    last_line = graph.get(key(f"mart/{name}")).description.splitlines()[-1]

    assert last_line.endswith(f" · {words}](/assets/mart/{name}?view=events&type%5B0%5D=Observation)")


def test_only_staging_is_partitioned_by_day(graph):
    partitioned = {a.to_user_string() for a in graph.get_all_asset_keys() if graph.get(a).partitions_def}

    assert partitioned == {f"stg/{kind.name}" for kind in KINDS}


def test_every_materialized_view_is_checked_alike(graph, catalog):
    for view in catalog.materialized_views:
        names = {check.name for check in graph.get_check_keys_for_assets({key(view.name.replace(".", "/"))})}
        assert {"row_count", "key_unique", "up_to_date", "concurrent_index", "bloat"} <= names
        assert ("newest_day" in names) == bool(view.header.days)
        assert ("mass_balance" in names) == bool(view.header.balance)
        assert set(view.header.checks) <= names


def test_the_jobs_the_sensor_and_the_schedule_are_there_and_on(definitions):
    repository = definitions.get_repository_def()

    assert {"ingest", "refresh_all", "nightly"} <= {job.name for job in repository.get_all_jobs()}
    sensor, schedule = repository.get_sensor_def("inbox"), repository.get_schedule_def("nightly")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("10 0 * * *", "Asia/Tokyo")
