"""The target card: planned and actual tons per day, week and month; and the calendar with the plan."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.settings import Settings
from mv_pipeline_tests.sql.history import (
    FIRST_DAY,
    LAST_DAY,
    TODAY,
    Plant,
    Row,
    assert_same,
    calendar,
    days_between,
    king_lines,
    king_row,
    king_tons,
    new_plant,
    receive_days,
    receive_line,
)

CARD, LIVE_CARD, PLAN_VIEW = (
    "mart.mv_target_card_per_day",
    "mart.v_target_card_per_day",
    "mart.v_daily_target_with_calendar",
)
TOKYO = ZoneInfo("Asia/Tokyo")


def plan(day: date, tons: float | None, created: datetime | None = datetime(2025, 1, 1), scope: str = "biz") -> Row:
    return {"ddate": day, "target_ton": tons, "scope_used": scope, "created_at": created}


def target(
    month: date,
    value: float,
    updated: datetime = datetime(2025, 1, 1, tzinfo=TOKYO),
    metric: str = "inbound",
    segment: str = "factory",
) -> Row:
    return {
        "month_date": month,
        "segment": segment,
        "metric": metric,
        "value": value,
        "unit": "t",
        "updated_at": updated,
    }


def card(plant: Plant, day: date, columns: str) -> tuple[object, ...]:
    """Some columns of a day's card, after everything has been brought up to date."""
    plant.bring_up_to_date(CARD)
    return plant.values(CARD, columns, ddate=day)


class TestDays:
    def test_there_is_one_row_for_every_calendar_day_future_days_included(self, empty_plant: Plant) -> None:
        days = empty_plant.table(CARD)["ddate"].dt.date
        assert len(days) == 2191
        assert sorted(days) == days_between(FIRST_DAY, LAST_DAY)

    def test_a_day_without_anything_has_zeros_and_no_month_target(self, plant: Plant) -> None:
        columns = "day_target_ton week_target_ton month_target_ton day_actual_ton_prev week_actual_ton month_actual_ton"
        assert card(plant, date(2025, 12, 10), columns) == (0, 0, None, 0, 0, 0)

    def test_a_day_shows_how_the_calendar_classifies_it(self, plant: Plant) -> None:
        columns = "iso_year iso_week iso_dow day_type is_business"
        assert card(plant, date(2026, 12, 31), columns) == (2026, 53, 4, "NORMAL", True)
        assert card(plant, date(2026, 5, 6), columns) == (2026, 19, 3, "RESERVATION", True)
        assert card(plant, date(2026, 6, 14), columns) == (2026, 24, 7, "CLOSED", False)


class TestDayTarget:
    def test_it_is_the_plan_of_the_day_future_days_included(self, plant: Plant) -> None:
        plant.insert("mart.daily_target_plan", [plan(date(2025, 12, 1), 88.5), plan(date(2026, 3, 2), 91.25)])
        assert card(plant, date(2025, 12, 1), "day_target_ton") == (Decimal("88.5"),)
        assert card(plant, date(2026, 3, 2), "day_target_ton") == (Decimal("91.25"),)

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_of_several_plans_of_a_day_the_last_created_wins(self, plant: Plant, newest_first: bool) -> None:
        day = date(2025, 12, 1)
        plans = [plan(day, tons, datetime(2025, 11, created)) for tons, created in ((80, 3), (70, 2), (95, 1))]
        plant.insert("mart.daily_target_plan", plans if newest_first else plans[::-1])
        assert card(plant, day, "day_target_ton week_target_ton") == (80, 80)
        assert plant.values(PLAN_VIEW, "target_ton created_at", ddate=day) == (80, datetime(2025, 11, 3))

    def test_a_plan_that_says_when_it_was_created_wins_over_one_that_does_not(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("mart.daily_target_plan", [plan(day, 70, None), plan(day, 80), plan(day, 60, None)])
        assert card(plant, day, "day_target_ton") == (80,)

    def test_plans_with_a_time_of_day_belong_to_their_day(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert(
            "mart.daily_target_plan",
            [
                plan(datetime(2025, 12, 1, 23, 59), 80, datetime(2025, 11, 2)),
                plan(day, 70, datetime(2025, 11, 1)),
            ],
        )
        assert card(plant, day, "day_target_ton week_target_ton") == (80, 80)

    def test_plans_created_at_the_same_moment_leave_one_row(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("mart.daily_target_plan", [plan(day, 80), plan(day, 80), plan(day, 80, scope="all")])
        assert card(plant, day, "day_target_ton week_target_ton") == (80, 80)
        assert len(plant.rows(PLAN_VIEW, ddate=day)) == 1

    def test_the_calendar_shows_the_plan_or_nothing(self, plant: Plant) -> None:
        plant.insert("mart.daily_target_plan", [plan(date(2025, 12, 1), 88.5)])
        columns = "iso_year iso_week iso_dow day_type is_business target_ton scope_used created_at"
        assert plant.values(PLAN_VIEW, columns, ddate=date(2025, 12, 1)) == (
            *(2025, 49, 1, "NORMAL", True),
            *(88.5, "biz", datetime(2025, 1, 1)),
        )
        assert plant.values(PLAN_VIEW, columns, ddate=date(2025, 12, 2)) == (
            *(2025, 49, 2, "NORMAL", True),
            *(None, None, None),
        )


class TestMonthTarget:
    def test_every_day_of_the_month_shows_it(self, plant: Plant) -> None:
        plant.insert("kpi.monthly_targets", [target(date(2026, 2, 1), 2100.5)])
        for day in (date(2026, 2, 1), date(2026, 2, 28)):
            assert card(plant, day, "month_target_ton") == (Decimal("2100.5"),)
        for day in (date(2026, 1, 31), date(2026, 3, 1), date(2025, 2, 1)):
            assert card(plant, day, "month_target_ton") == (None,)

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_of_several_the_last_updated_wins(self, plant: Plant, newest_first: bool) -> None:
        month = date(2025, 12, 1)
        targets = [
            target(month, value, datetime(2025, 11, day, tzinfo=TOKYO))
            for value, day in ((2000, 9), (1900, 8), (2200, 7))
        ]
        plant.insert("kpi.monthly_targets", targets if newest_first else targets[::-1])
        assert card(plant, date(2025, 12, 24), "month_target_ton") == (2000,)
        assert plant.table(CARD)["ddate"].is_unique

    @pytest.mark.parametrize(("metric", "segment"), [("inbound", "yard"), ("outbound", "factory"), ("sales", "all")])
    def test_other_metrics_and_segments_do_not_count(self, plant: Plant, metric: str, segment: str) -> None:
        month = date(2025, 12, 1)
        newer = datetime(2025, 12, 1, tzinfo=TOKYO)
        plant.insert("kpi.monthly_targets", [target(month, 9999, newer, metric, segment)])
        assert card(plant, month, "month_target_ton") == (None,)
        plant.insert("kpi.monthly_targets", [target(month, 2000)])
        assert card(plant, month, "month_target_ton") == (2000,)


class TestActual:
    def test_the_day_shows_what_came_in_the_day_before(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", king_tons({date(2025, 11, 30): 12.345, date(2025, 12, 1): 70}))
        assert card(plant, date(2025, 11, 30), "day_actual_ton_prev") == (0,)
        assert card(plant, date(2025, 12, 1), "day_actual_ton_prev") == (Decimal("12.345"),)
        assert card(plant, date(2025, 12, 2), "day_actual_ton_prev") == (70,)
        assert card(plant, date(2025, 12, 3), "day_actual_ton_prev") == (0,)

    def test_this_morning_shows_yesterday_and_tomorrow_shows_nothing_yet(self, plant: Plant) -> None:
        yesterday, tomorrow = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
        plant.upload("shogun_flash_receive", [receive_line(day, 1, 4000) for day in (yesterday, TODAY, tomorrow)])
        assert card(plant, TODAY, "day_actual_ton_prev week_actual_ton month_actual_ton") == (4, 4, 4)
        assert card(plant, tomorrow, "day_actual_ton_prev week_actual_ton month_actual_ton") == (0, 4, 4)

    def test_the_first_day_of_the_calendar_has_no_day_before(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", king_tons({date(2020, 12, 31): 5, FIRST_DAY: 7}))
        columns = "day_actual_ton_prev week_actual_ton month_actual_ton"
        assert card(plant, FIRST_DAY, columns) == (0, 7, 7)

    def test_every_day_of_a_week_shows_the_whole_week(self, plant: Plant) -> None:
        monday = date(2025, 11, 24)
        tons = {monday + timedelta(days=n): 2**n for n in range(-1, 8)}  # from the Sunday before to the Monday after
        plant.insert("stg.receive_king_final", king_tons(tons))
        for n in range(7):
            assert card(plant, monday + timedelta(days=n), "week_actual_ton") == (127,)

    @pytest.mark.parametrize(
        ("first", "last", "iso_year", "iso_week"),
        [
            pytest.param(date(2022, 12, 26), date(2023, 1, 1), 2022, 52, id="a week that ends in the next year"),
            pytest.param(date(2024, 12, 30), date(2025, 1, 5), 2025, 1, id="a week that begins in the year before"),
        ],
    )
    def test_a_week_reaches_across_the_turn_of_the_year(
        self, plant: Plant, first: date, last: date, iso_year: int, iso_week: int
    ) -> None:
        outside = first - timedelta(days=1), last + timedelta(days=1)
        days = days_between(first, last)
        plant.insert("stg.receive_king_final", king_tons(dict.fromkeys(days, 10) | dict.fromkeys(outside, 500)))
        plant.insert("mart.daily_target_plan", [plan(day, 20) for day in days] + [plan(day, 900) for day in outside])
        for day in (first, last):
            columns = "iso_year iso_week week_target_ton week_actual_ton"
            assert card(plant, day, columns) == (iso_year, iso_week, 140, 70)

    def test_a_month_ends_with_its_last_day_even_in_the_middle_of_a_week(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", king_tons({date(2025, 10, 31): 3, date(2025, 11, 1): 40}))
        columns = "week_actual_ton month_actual_ton"
        assert card(plant, date(2025, 10, 31), columns) == (43, 3)
        assert card(plant, date(2025, 11, 1), columns) == (43, 40)

    def test_the_same_month_of_another_year_is_another_month(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", king_tons({date(2024, 10, 3): 3, date(2025, 10, 3): 40}))
        assert card(plant, date(2025, 10, 20), "month_actual_ton") == (40,)


@dataclass
class History:
    """A random history of receives, plans and targets."""

    plant: Plant
    king: list[Row] = field(default_factory=list)
    plans: list[Row] = field(default_factory=list)
    targets: list[Row] = field(default_factory=list)

    @property
    def calendar(self) -> pd.DataFrame:
        """The calendar as classified."""
        return calendar(self.plant.table("ref.holiday_jp")["hdate"].dt.date)

    @property
    def plan_of_days(self) -> pd.DataFrame:
        """Per day the plan that was created last."""
        plans = pd.DataFrame(self.plans)
        plans["ddate"] = pd.to_datetime(plans["ddate"])
        return plans.sort_values("created_at").groupby("ddate").tail(1)


@pytest.fixture(scope="module")
def history(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    random = Random(7)
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        history = History(plant)
        for day in days_between(FIRST_DAY, TODAY + timedelta(days=3)):
            history.king += [
                king_row(day, number, random.randint(-50, 60_000)) for number in range(random.choice((0, 1, 1, 2)))
            ]
        for day in days_between(FIRST_DAY, LAST_DAY):
            created = random.sample(range(10_000), random.choice((0, 1, 1, 1, 2, 3)))
            history.plans += [
                plan(
                    day,
                    random.randint(0, 1200) / 10,
                    datetime(2020, 6, 1) + timedelta(hours=hours),
                    random.choice(("biz", "all")),
                )
                for hours in created
            ]
        for month in pd.date_range(FIRST_DAY, LAST_DAY, freq="MS"):
            updated = random.sample(range(10_000), random.choice((0, 1, 2, 3)))
            history.targets += [
                target(
                    month.date(),
                    random.randint(10_000, 99_999) / 10,
                    datetime(2020, 6, 1, tzinfo=TOKYO) + timedelta(hours=hours),
                    *random.choice(
                        (("inbound", "factory"), ("inbound", "factory"), ("inbound", "x"), ("y", "factory"))
                    ),
                )
                for hours in updated
            ]
        for rows in (history.plans, history.targets):
            random.shuffle(rows)
        plant.insert("stg.receive_king_final", history.king)
        plant.insert("mart.daily_target_plan", history.plans)
        plant.insert("kpi.monthly_targets", history.targets)
        plant.bring_up_to_date(CARD)
        yield history


@pytest.fixture(scope="module")
def expected(history: History) -> pd.DataFrame:
    """What the card has to hold after that history."""
    days = history.calendar
    received = receive_days(king_lines(history.king), days).set_index("ddate")["receive_net_ton"]
    plans = history.plan_of_days.set_index("ddate")["target_ton"]

    targets = pd.DataFrame(history.targets)
    targets = targets[(targets["metric"] == "inbound") & (targets["segment"] == "factory")]
    targets = targets.sort_values("updated_at").groupby("month_date").tail(1)
    value_of_month = {
        (day.year, day.month): value for day, value in zip(targets["month_date"], targets["value"], strict=True)
    }

    actual = pd.Series([received.get(day, Decimal(0)) for day in days["ddate"]], dtype=object)
    table = days[["ddate", "iso_year", "iso_week", "iso_dow", "day_type", "is_business"]].copy()
    table["day_target_ton"] = [Decimal(str(plans.get(day, 0))) for day in days["ddate"]]
    table["week_target_ton"] = table.groupby(["iso_year", "iso_week"])["day_target_ton"].transform("sum")
    table["month_target_ton"] = [
        Decimal(str(value_of_month[month])) if month in value_of_month else None
        for month in zip(days["y"], days["m"], strict=True)
    ]
    table["day_actual_ton_prev"] = [received.get(day - timedelta(days=1), Decimal(0)) for day in days["ddate"]]
    table["week_actual_ton"] = actual.groupby([days["iso_year"], days["iso_week"]]).transform("sum")
    table["month_actual_ton"] = actual.groupby([days["y"], days["m"]]).transform("sum")
    return table


class TestRandomHistory:
    def test_every_day_shows_what_was_planned_and_what_came_in(self, history: History, expected: pd.DataFrame) -> None:
        assert_same(history.plant.table(CARD), expected, ["ddate"])

    def test_the_live_view_shows_the_same_in_the_same_columns(self, history: History, expected: pd.DataFrame) -> None:
        live = history.plant.table(LIVE_CARD)
        assert list(live.columns) == list(history.plant.table(CARD).columns)
        assert_same(live, expected, ["ddate"])

    def test_the_live_view_is_ahead_of_a_card_that_has_not_been_refreshed(self, history: History) -> None:
        day = date(2026, 7, 7)
        with history.plant.trial():
            history.plant.insert("mart.daily_target_plan", [plan(day, 4321, datetime(2030, 1, 1))])
            assert history.plant.values(LIVE_CARD, "day_target_ton", ddate=day) == (4321,)
            assert history.plant.values(CARD, "day_target_ton", ddate=day) != (4321,)

    def test_the_calendar_shows_the_plan_of_every_day(self, history: History) -> None:
        days = history.calendar[["ddate", "iso_year", "iso_week", "iso_dow", "day_type", "is_business"]]
        assert_same(history.plant.table(PLAN_VIEW), days.merge(history.plan_of_days, how="left", on="ddate"), ["ddate"])
