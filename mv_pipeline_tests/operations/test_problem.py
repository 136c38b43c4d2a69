"""What trouble means for people: where they see it, and how loud it is."""

import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.operations.problem import every_dashboard, highest_level, level_of, shown_in

CARD, INBOUND, FORECAST = (
    "目標カード (target_card)",
    "受入ダッシュボード (inbound)",
    "搬入量予測モデル (inbound_forecast)",
)
SHIPMENT_AND_YARD, SALES = "出荷・ヤード日報 (shipment_and_yard)", "売上ツリー (sales_tree)"


@pytest.mark.parametrize(
    ("name", "dashboards"),
    [
        ("mart.mv_target_card_per_day", [CARD]),
        ("mart.mv_receive_daily", [CARD, INBOUND, FORECAST]),
        ("mart.rollup_shogun_final_yard", [SHIPMENT_AND_YARD]),
        ("stg.shogun_final_receive", [CARD, INBOUND, FORECAST, SALES]),
        ("raw.shogun_final_yard", [SHIPMENT_AND_YARD]),
        ("ref.v_customer", [SALES]),
    ],
)
def test_trouble_is_shown_in_the_dashboards_that_read_it_directly_or_through_others(catalog, name, dashboards):
    assert set(shown_in(catalog, name).split(", ")) == set(dashboards)


def test_of_several_relations_each_dashboard_is_named_once(catalog):
    shown = shown_in(catalog, "mart.mv_shipment_daily", "mart.mv_yard_daily", "mart.mv_target_card_per_day")

    assert shown == f"{CARD}, {SHIPMENT_AND_YARD}"


def test_where_no_dashboard_is_declared_the_views_are_named_critical_ones_first(catalog):
    undeclared = Catalog(catalog.relations.values())

    names = shown_in(undeclared, "mart.mv_receive_daily").split(", ")

    assert shown_in(undeclared, "mart.mv_yard_daily") == "mart.mv_yard_daily"
    assert names[0] == "mart.mv_receive_daily"
    assert names.index("mart.mv_target_card_per_day") < names.index("mart.mv_inbound_kpi_daily")


def test_what_nothing_reads_is_shown_nowhere(catalog):
    assert shown_in(catalog, "pictures.target_card") == "no dashboard and no view"


def test_every_dashboard_shows_what_comes_from_files(catalog):
    assert every_dashboard(catalog).count("(") == len(catalog.dashboards)


def test_trouble_is_as_loud_as_the_loudest_view_that_it_touches(catalog):
    assert level_of(catalog, "raw.shogun_final_receive") == "failure"
    assert level_of(catalog, "raw.shogun_final_yard") == "warning"
    assert highest_level(catalog, ["mart.mv_yard_daily", "mart.mv_receive_daily"]) == "failure"
    assert highest_level(catalog, ["mart.mv_yard_daily", "pictures.target_card"]) == "warning"
