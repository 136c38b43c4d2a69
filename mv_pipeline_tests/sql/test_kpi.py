"""mart.mv_inbound_kpi_daily: actual tons against the plan, per day and month to date, and a year before."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

import pandas as pd
import pytest

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
    receive_days,
    receive_line,
)

KPI = "mart.mv_inbound_kpi_daily"


def plan(tons: dict[date, float | None], created: datetime = datetime(2020, 1, 1)) -> list[Row]:
    """One plan row a day."""
    return [{"ddate": day, "target_ton": target, "created_at": created} for day, target in tons.items()]


def kpi(plant: Plant, day: date, columns: str) -> tuple[object, ...]:
    """Some columns of a day, after everything has been brought up to date."""
    plant.bring_up_to_date(KPI)
    return plant.values(KPI, columns, ddate=day)


def test_there_is_one_row_for_every_calendar_day_up_to_yesterday(empty_plant: Plant) -> None:
    days = empty_plant.table(KPI)["ddate"].dt.date
    assert sorted(days) == days_between(FIRST_DAY, TODAY - timedelta(days=1))


class TestRates:
    def test_a_rate_is_actual_by_target(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("stg.receive_king_final", king_tons({day: 60}))
        plant.insert("mart.daily_target_plan", plan({day: 80}))
        assert kpi(plant, day, "actual_ton target_ton achievement_rate") == (60, 80, Decimal("0.75"))

    def test_a_rate_is_rounded_to_four_places(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("stg.receive_king_final", king_tons({day: 2}))
        plant.insert("mart.daily_target_plan", plan({day: 3}))
        assert kpi(plant, day, "achievement_rate mtd_achievement_rate") == (Decimal("0.6667"), Decimal("0.6667"))

    @pytest.mark.parametrize("target", [0, None, "no plan"])
    def test_without_a_target_there_is_no_rate(self, plant: Plant, target: float | str | None) -> None:
        day = date(2025, 12, 1)
        plant.insert("stg.receive_king_final", king_tons({day: 60}))
        if not isinstance(target, str):
            plant.insert("mart.daily_target_plan", plan({day: target}))
        columns = "actual_ton target_ton achievement_rate mtd_target_ton mtd_achievement_rate"
        assert kpi(plant, day, columns) == (60, 0, None, 0, None)

    def test_a_day_without_receives_has_a_rate_of_zero(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("mart.daily_target_plan", plan({day: 80}))
        assert kpi(plant, day, "actual_ton achievement_rate mtd_achievement_rate") == (0, 0, 0)

    def test_of_several_plans_of_a_day_the_last_created_counts(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("mart.daily_target_plan", plan({day: 90}, datetime(2025, 11, 2)) + plan({day: 70}))
        assert kpi(plant, day, "target_ton mtd_target_ton") == (90, 90)

    def test_the_actual_is_that_of_the_source_that_counts(self, plant: Plant) -> None:
        day = date(2025, 12, 1)
        plant.insert("stg.receive_king_final", king_tons({day: 60}))
        plant.upload("shogun_final_receive", [receive_line(day, 1, 2000)])
        assert kpi(plant, day, "actual_ton") == (2,)


class TestMonthToDate:
    def test_it_runs_from_the_first_of_the_month_to_the_day(self, plant: Plant) -> None:
        first = date(2025, 11, 1)
        days = days_between(first - timedelta(days=1), first + timedelta(days=2))
        plant.insert("stg.receive_king_final", king_tons(dict(zip(days, (1000, 10, 20, 40), strict=True))))
        plant.insert("mart.daily_target_plan", plan(dict(zip(days, (5000, 50, 25, 25), strict=True))))
        columns = "mtd_actual_ton mtd_target_ton mtd_achievement_rate"
        assert [kpi(plant, day, columns) for day in days[1:]] == [
            (10, 50, Decimal("0.2")),
            (30, 75, Decimal("0.4")),
            (70, 100, Decimal("0.7")),
        ]

    def test_targets_of_days_to_come_are_not_in_it(self, plant: Plant) -> None:
        plant.insert("mart.daily_target_plan", plan(dict.fromkeys(days_between(date(2025, 12, 1), LAST_DAY), 10)))
        assert kpi(plant, date(2025, 12, 10), "mtd_target_ton") == (100,)

    def test_the_month_to_date_has_a_rate_on_a_day_that_has_none(self, plant: Plant) -> None:
        first, second = date(2025, 11, 1), date(2025, 11, 2)
        plant.insert("stg.receive_king_final", king_tons({first: 30, second: 10}))
        plant.insert("mart.daily_target_plan", plan({first: 80}))
        assert kpi(plant, second, "achievement_rate mtd_achievement_rate") == (None, Decimal("0.5"))


class TestPreviousYear:
    @pytest.mark.parametrize(
        ("day", "day_before"),
        [
            pytest.param(date(2025, 12, 10), date(2024, 12, 11), id="another date, the same weekday"),
            pytest.param(date(2024, 12, 30), date(2024, 1, 1), id="the first week begins in the year before"),
            pytest.param(date(2023, 1, 1), date(2022, 1, 2), id="the last week ends in the next year"),
            pytest.param(date(2022, 1, 3), date(2021, 1, 4), id="the first week that has a year before"),
        ],
    )
    def test_it_is_the_same_weekday_of_the_same_iso_week(self, plant: Plant, day: date, day_before: date) -> None:
        plant.insert("stg.receive_king_final", king_tons({day_before: 77.5}))
        assert kpi(plant, day, "prev_year_ddate prev_year_actual_ton") == (day_before, Decimal("77.5"))

    def test_a_day_before_without_receives_has_zero_tons(self, plant: Plant) -> None:
        assert kpi(plant, date(2025, 12, 10), "prev_year_ddate prev_year_actual_ton") == (date(2024, 12, 11), 0)

    @pytest.mark.parametrize("day", days_between(date(2026, 12, 28), date(2026, 12, 30)))
    def test_week_53_has_none_after_a_year_of_52_weeks(self, plant: Plant, day: date) -> None:
        plant.set_today(LAST_DAY)
        plant.insert("stg.receive_king_final", king_tons(dict.fromkeys(days_between(date(2025, 12, 1), day), 50)))
        assert kpi(plant, day, "actual_ton prev_year_ddate prev_year_actual_ton") == (50, None, None)

    @pytest.mark.parametrize("day", [date(2021, 1, 1), date(2021, 1, 4), date(2021, 12, 31), date(2022, 1, 2)])
    def test_where_it_lies_before_the_calendar_there_is_none(self, plant: Plant, day: date) -> None:
        assert kpi(plant, day, "prev_year_ddate prev_year_actual_ton") == (None, None)


@pytest.mark.parametrize("today", [TODAY, LAST_DAY])
def test_every_day_of_a_random_history(plant: Plant, today: date) -> None:
    random = Random(str(today))
    king = [
        king_row(day, number, random.randint(-99, 80_000))
        for day in days_between(FIRST_DAY, LAST_DAY)
        for number in range(random.choice((0, 1, 2)))
    ]
    targets = {
        day: random.choice((0, random.randint(1, 1200) / 10))
        for day in days_between(FIRST_DAY, LAST_DAY)
        if random.random() < 0.8 and day.month != 5
    }
    plant.insert("stg.receive_king_final", king)
    plant.insert("mart.daily_target_plan", plan(targets))
    plant.set_today(today)
    plant.bring_up_to_date(KPI)

    received = receive_days(king_lines(king), calendar(plant.table("ref.holiday_jp")["hdate"].dt.date), today)
    days = pd.DataFrame({"ddate": received["ddate"], "actual_ton": received["receive_net_ton"]})
    days["target_ton"] = [Decimal(str(targets.get(day.date(), 0))) for day in days["ddate"]]
    month = days["ddate"].dt.to_period("M")
    for name in ("actual_ton", "target_ton"):
        days[f"mtd_{name}"] = days[name].astype(float).groupby(month).cumsum()
    for rate, actual, target in (
        ("achievement_rate", "actual_ton", "target_ton"),
        ("mtd_achievement_rate", "mtd_actual_ton", "mtd_target_ton"),
    ):
        tons = days[target].astype(float)
        days[rate] = (days[actual].astype(float) / tons.where(tons > 0)).where(tons > 0)
    actual_of = dict(zip(days["ddate"].dt.date, days["actual_ton"], strict=True))
    days["prev_year_ddate"] = pd.to_datetime(pd.Series([a_year_before(day.date()) for day in days["ddate"]]))
    days["prev_year_actual_ton"] = [actual_of.get(day.date()) for day in days["prev_year_ddate"]]
    places = {"mtd_actual_ton": 3, "mtd_target_ton": 3, "achievement_rate": 4, "mtd_achievement_rate": 4}
    assert days["prev_year_ddate"].isna().any()
    assert_same(plant.table(KPI), days, ["ddate"], places)


def a_year_before(day: date) -> date | None:
    """The same weekday of the same ISO week of the year before, if there was such a week and the calendar has it."""
    iso_year, week, weekday = day.isocalendar()
    try:
        found = date.fromisocalendar(iso_year - 1, week, weekday)
    except ValueError:
        return None
    return found if found >= FIRST_DAY else None
