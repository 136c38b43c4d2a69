"""The five-year profiles that the forecast model reads, and that a refresh which changes nothing writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pandas as pd
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.refresh.reference import extend_calendar
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

DAY_BIZ, DAY_SCOPE, WEEK_SUMS, WEEK_PROFILE = (
    "mart.mv_inb_avg5y_day_biz",
    "mart.mv_inb_avg5y_day_scope",
    "mart.mv_inb_avg5y_weeksum_biz",
    "mart.mv_inb5y_week_profile_min",
)
PROFILES = (DAY_BIZ, DAY_SCOPE, WEEK_SUMS, WEEK_PROFILE)
RECEIVE_DAILY = "mart.mv_receive_daily"

# The Tuesdays of ISO week 36 and the Sundays of ISO week 34: neither holidays nor second Sundays.
TUESDAYS = [date.fromisocalendar(year, 36, 2) for year in range(2021, 2026)]
SUNDAYS = [date.fromisocalendar(year, 34, 7) for year in range(2021, 2026)]


def force(plant: Plant, override: str, days: list[date]) -> None:
    plant.insert("ref.calendar_exception", [{"ddate": day, "override_type": override} for day in days])


def receive(plant: Plant, tons: dict[date, float]) -> None:
    """Let so many tons come in, and bring the profiles up to date."""
    plant.insert("stg.receive_king_final", king_tons(tons))
    plant.bring_up_to_date(*PROFILES)


class TestDayProfile:
    def test_it_is_mean_and_sample_deviation_of_the_same_weekday_of_the_same_week(self, plant: Plant) -> None:
        receive(plant, dict(zip(TUESDAYS, (10, 20, 30, 40, 60), strict=True)))
        # Mean 32; squared distances 484 + 144 + 4 + 64 + 784 = 1480; σ = √(1480 / 4).
        assert plant.values(DAY_BIZ, "ave sigma n cv quality", iso_week=36, iso_dow=2) == (
            *(32, Decimal("19.2354"), 5),
            *(Decimal("0.6011"), "HIGH_VARIANCE"),
        )

    def test_a_day_without_receives_is_a_day_of_zero_tons(self, plant: Plant) -> None:
        receive(plant, {TUESDAYS[0]: 100})
        assert plant.values(DAY_BIZ, "ave n", iso_week=36, iso_dow=2) == (20, 5)

    def test_week_53_has_only_the_days_there_were(self, plant: Plant) -> None:
        receive(plant, {date(2021, 1, 2): 12.5})
        columns = "ave sigma n cv quality"
        assert plant.values(DAY_BIZ, columns, iso_week=53, iso_dow=6) == (Decimal("12.5"), None, 1, None, "LOW_SAMPLE")
        days = plant.rows(DAY_SCOPE, iso_week=53)
        assert sorted((row["scope"], row["iso_dow"], row["n"]) for row in days) == [
            ("all", 5, 1),
            ("all", 6, 1),
            ("all", 7, 1),
            ("biz", 6, 1),
        ]

    @pytest.mark.parametrize(
        ("override", "day", "is_biz"),
        [
            pytest.param(None, date(2025, 9, 2), True, id="a weekday"),
            pytest.param(None, date(2025, 9, 6), True, id="a Saturday"),
            pytest.param(None, date(2025, 9, 7), False, id="a Sunday"),
            pytest.param(None, date(2025, 9, 15), False, id="a holiday"),
            pytest.param("FORCE_CLOSED", date(2025, 9, 2), False, id="a closed weekday"),
            pytest.param("FORCE_RESERVATION", date(2025, 9, 2), True, id="a weekday by reservation"),
            pytest.param("FORCE_OPEN", date(2025, 9, 7), False, id="an open Sunday"),
            pytest.param("FORCE_OPEN", date(2025, 9, 15), False, id="an open holiday"),
        ],
    )
    def test_biz_days_are_business_days_but_no_holidays_from_monday_to_saturday(
        self, plant: Plant, override: str | None, day: date, is_biz: bool
    ) -> None:
        if override:
            force(plant, override, [day])
        receive(plant, {day: 1000})
        _, iso_week, iso_dow = day.isocalendar()
        week = {"iso_week": iso_week, "iso_dow": iso_dow}
        assert any(row["ave"] for row in plant.rows(DAY_BIZ, **week)) is is_biz
        assert any(row["ave"] for row in plant.rows(DAY_SCOPE, scope="biz", **week)) is is_biz
        assert any(row["ave"] for row in plant.rows(DAY_SCOPE, scope="all", **week))
        assert any(row["ave"] for row in plant.rows(WEEK_SUMS, iso_week=iso_week)) is is_biz

    @pytest.mark.parametrize(
        ("scope", "include"),
        [("all", True), ("biz", False)],
    )
    def test_each_scope_states_its_criteria(self, plant: Plant, scope: str, include: bool) -> None:
        found = plant.rows(DAY_SCOPE, scope=scope)
        assert found
        for row in found:
            assert row["criteria"] == {
                "window_years": 5,
                "include_holiday": include,
                "include_sunday": include,
                "y_filter": "is not null",
            }

    def test_a_mean_of_zero_has_no_cv(self, plant: Plant) -> None:
        receive(plant, {TUESDAYS[0]: 10, TUESDAYS[1]: -10})
        sigma = Decimal("7.0711")
        assert plant.values(DAY_BIZ, "ave sigma cv", iso_week=36, iso_dow=2) == (0, sigma, None)
        assert plant.values(DAY_SCOPE, "ave sigma cv", scope="biz", iso_week=36, iso_dow=2) == (0, sigma, None)

    def test_a_negative_mean_has_a_cv_by_scope_only(self, plant: Plant) -> None:
        receive(plant, dict(zip(TUESDAYS, (-10, -20, -30, -40, -60), strict=True)))
        assert plant.values(DAY_BIZ, "ave cv quality", iso_week=36, iso_dow=2) == (-32, None, "LOW_MEAN")
        assert plant.values(DAY_SCOPE, "cv", scope="all", iso_week=36, iso_dow=2) == (Decimal("-0.6011"),)


class TestQuality:
    @pytest.mark.parametrize(
        ("tons", "quality"),
        [
            pytest.param((80, 90), "LOW_SAMPLE", id="two days"),
            pytest.param((0, 0), "LOW_SAMPLE", id="two days of nothing"),
            pytest.param((80, 90, 100), "OK", id="three days"),
            pytest.param((0, 0, 0), "LOW_MEAN", id="three days of nothing"),
            pytest.param((1, 1, 1, 1, 1), "LOW_MEAN", id="a mean of one ton"),
            pytest.param((5, 0, 0, 0, 0), "LOW_MEAN", id="a mean of one ton that varies"),
            pytest.param((1.001, 1, 1, 1, 1), "OK", id="a mean just over one ton"),
            pytest.param((16, 16, 10, 4, 4), "OK", id="a cv of 0.6 exactly"),
            pytest.param((16.001, 16, 10, 4, 3.999), "HIGH_VARIANCE", id="a cv just over 0.6"),
        ],
    )
    def test_of_a_day(self, plant: Plant, tons: tuple[float, ...], quality: str) -> None:
        force(plant, "FORCE_CLOSED", TUESDAYS[len(tons) :])
        receive(plant, dict(zip(TUESDAYS, tons, strict=False)))
        assert plant.values(DAY_BIZ, "n quality", iso_week=36, iso_dow=2) == (len(tons), quality)

    @pytest.mark.parametrize(
        ("tons", "quality"),
        [
            ((80, 90), "LOW_SAMPLE"),
            ((80, 90, 100), "OK"),
            ((1, 1, 1), "LOW_MEAN"),
            ((16, 16, 10, 4, 4), "OK"),
            ((17, 16, 10, 4, 3), "HIGH_VARIANCE"),
        ],
    )
    def test_of_a_week(self, plant: Plant, tons: tuple[float, ...], quality: str) -> None:
        weeks = [days_between(tuesday - timedelta(days=1), tuesday + timedelta(days=5)) for tuesday in TUESDAYS]
        force(plant, "FORCE_CLOSED", [day for week in weeks[len(tons) :] for day in week])
        receive(plant, dict(zip(TUESDAYS, tons, strict=False)))
        assert plant.values(WEEK_SUMS, "n quality", iso_week=36, iso_dow=0) == (len(tons), quality)


class TestWeekSums:
    def test_they_are_over_the_sums_of_each_years_week(self, plant: Plant) -> None:
        monday = TUESDAYS[0] - timedelta(days=1)
        tons = {monday: 10.0, monday + timedelta(days=5): 20.005}  # 30.005 t in 2021
        tons |= dict(zip(TUESDAYS[1:], (40, 50, 60, 70), strict=True))
        receive(plant, tons)
        # Mean 250.005 / 5; the squared distances from it add up to 999.8; σ = √(999.8 / 4).
        row = plant.row(WEEK_SUMS, iso_week=36, iso_dow=0)
        assert (row["ave"], row["sigma"], row["n"]) == (Decimal("50.00"), Decimal("15.81"), 5)
        assert row["cv"] == Decimal("0.3162")

    def test_sundays_and_holidays_are_not_in_them(self, plant: Plant) -> None:
        receive(plant, {date(2025, 9, 15): 500, date(2025, 9, 21): 500, date(2025, 9, 16): 50})
        assert plant.values(WEEK_SUMS, "ave", iso_week=38) == (10,)

    def test_the_days_of_a_week_across_the_turn_of_the_year_are_one_sum(self, plant: Plant) -> None:
        receive(plant, {date(2024, 12, 30): 10, date(2025, 1, 4): 20})
        assert plant.values(WEEK_SUMS, "ave sigma n", iso_week=1) == (6, Decimal("13.42"), 5)


class TestReservationFactor:
    """Mean tons of a reservation day as a share of the week's normal days."""

    @pytest.fixture
    def normal(self) -> dict[date, float]:
        """A history of 100 t a day in weeks 34 and 50 t a day in weeks 36, from Monday to Saturday."""
        return {
            date.fromisocalendar(year, week, weekday): tons
            for year in range(2021, 2026)
            for week, tons in ((34, 100), (36, 50))
            for weekday in range(1, 7)
        }

    def let_only(self, plant: Plant, reserved: list[date]) -> None:
        """Close every other Sunday and holiday, so that these are all reservation days there are."""
        days = calendar(plant.table("ref.holiday_jp")["hdate"].dt.date)
        others = set(days.loc[days["day_type"] == "RESERVATION", "ddate"].dt.date) - set(reserved)
        force(plant, "FORCE_CLOSED", sorted(others))

    def test_from_three_days_on_it_is_the_weeks_own(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, [*SUNDAYS[:3], date(2025, 9, 7)])
        receive(plant, normal | dict(zip(SUNDAYS, (20, 30, 70), strict=False)) | {date(2025, 9, 7): 50})
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=34) == (100, 40)

    def test_with_fewer_days_it_is_that_of_all_weeks_together(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, [*SUNDAYS[:3], date(2025, 9, 7)])
        receive(plant, normal | dict(zip(SUNDAYS, (20, 30, 70), strict=False)) | {date(2025, 9, 7): 50})
        # Shares 0.2, 0.3, 0.7 of week 34 and 1.0 of week 36: 0.55 on average.
        means = plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=36)
        assert means == (50, Decimal("27.5"))

    def test_two_days_are_fewer_than_three(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, [*SUNDAYS[:2], date(2025, 9, 7)])
        receive(plant, normal | dict(zip(SUNDAYS, (20, 30), strict=False)) | {date(2025, 9, 7): 50})
        assert plant.values(WEEK_PROFILE, "reservation_day_mean", iso_week=34) == (50,)
        assert plant.values(WEEK_PROFILE, "reservation_day_mean", iso_week=36) == (25,)

    def test_without_any_reservation_day_it_is_one_half(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, [])
        receive(plant, normal)
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=34) == (100, 50)
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=36) == (50, 25)

    def test_a_reservation_day_without_receives_is_one_of_them(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, SUNDAYS)
        receive(plant, normal | {SUNDAYS[0]: 30})
        assert plant.values(WEEK_PROFILE, "reservation_day_mean", iso_week=34) == (6,)

    def test_receives_on_closed_days_are_in_neither_mean(self, plant: Plant, normal: dict[date, float]) -> None:
        self.let_only(plant, SUNDAYS)
        closed = [date(2021, 8, 23), date(2022, 8, 22)]
        force(plant, "FORCE_CLOSED", closed)
        receive(plant, normal | dict.fromkeys(SUNDAYS, 40) | dict.fromkeys(closed, 9999))
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=34) == (100, 40)

    def test_a_weekday_by_reservation_is_a_reservation_day(self, plant: Plant, normal: dict[date, float]) -> None:
        reserved = [date(2021, 8, 23), date(2022, 8, 22), date(2023, 8, 21)]
        self.let_only(plant, [])
        force(plant, "FORCE_RESERVATION", reserved)
        receive(plant, normal | dict.fromkeys(reserved, 25))
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=34) == (100, 25)

    def test_a_week_whose_normal_days_have_no_receives_has_no_share(
        self, plant: Plant, normal: dict[date, float]
    ) -> None:
        sundays = [date.fromisocalendar(year, 35, 7) for year in range(2021, 2026)]
        self.let_only(plant, [*SUNDAYS, *sundays])
        receive(plant, normal | dict.fromkeys(SUNDAYS, 40) | dict.fromkeys(sundays, 70))
        assert plant.values(WEEK_PROFILE, "normal_day_mean reservation_day_mean", iso_week=35) == (0, 0)
        assert plant.values(WEEK_PROFILE, "reservation_day_mean", iso_week=36) == (20,)


class TestWindow:
    def test_it_begins_on_the_day_five_years_before_today(self, plant: Plant) -> None:
        plant.set_today(date(2026, 6, 11))
        receive(plant, {date(2021, 6, 10): 600, date(2021, 6, 11): 600})
        # Both are in week 23: a Thursday, which is out, and a Friday, which is in.
        for view, key in ((DAY_BIZ, {}), (DAY_SCOPE, {"scope": "all"}), (DAY_SCOPE, {"scope": "biz"})):
            assert plant.values(view, "ave n", iso_week=23, iso_dow=4, **key) == (0, 5)
            assert plant.values(view, "ave n", iso_week=23, iso_dow=5, **key) == (100, 6)
        assert plant.values(WEEK_SUMS, "ave n", iso_week=23) == (100, 6)
        # Friday and Saturday of 2021, and six days of each of the five years after.
        assert plant.values(WEEK_PROFILE, "normal_day_mean", iso_week=23) == (Decimal("18.75"),)

    @pytest.mark.parametrize(
        ("today", "first"),
        [
            pytest.param(date(2026, 12, 31), date(2021, 12, 31), id="one leap day between"),
            pytest.param(date(2028, 3, 1), date(2023, 3, 1), id="two leap days between"),
            pytest.param(date(2028, 2, 29), date(2023, 2, 28), id="from a leap day"),
        ],
    )
    def test_five_years_are_five_dates_on_not_a_number_of_days(self, plant: Plant, today: date, first: date) -> None:
        plant.set_today(today)
        extend_calendar(plant.connection)
        receive(plant, {first: 600, first - timedelta(days=1): 600})
        _, iso_week, iso_dow = first.isocalendar()
        assert plant.row(DAY_SCOPE, scope="all", iso_week=iso_week, iso_dow=iso_dow)["ave"]
        _, iso_week, iso_dow = (first - timedelta(days=1)).isocalendar()
        assert not plant.row(DAY_SCOPE, scope="all", iso_week=iso_week, iso_dow=iso_dow)["ave"]

    def test_it_ends_yesterday(self, plant: Plant) -> None:
        receive(plant, {TODAY: 600, TODAY - timedelta(days=1): 600})
        assert plant.values(DAY_BIZ, "ave n", iso_week=50, iso_dow=3) == (120, 5)
        assert plant.values(DAY_BIZ, "ave n", iso_week=50, iso_dow=4) == (0, 4)


@dataclass
class History:
    """Years of random receives with gaps, as put in."""

    plant: Plant
    king: list[Row] = field(default_factory=list)
    final: list[Row] = field(default_factory=list)
    closures: list[tuple[date, date]] = field(default_factory=list)
    exceptions: dict[date, str] = field(default_factory=dict)

    def window(self, today: date) -> pd.DataFrame:
        """The days behind the profiles: calendar, tons, and when the rollup of the day's source last changed."""
        holidays = self.plant.table("ref.holiday_jp")["hdate"].dt.date
        lines = pd.concat([king_lines(self.king), pd.DataFrame(self.final)], ignore_index=True)
        lines["ddate"] = pd.to_datetime(lines["ddate"])
        days = receive_days(lines, calendar(holidays, self.closures, self.exceptions), today)
        days = days[days["ddate"] >= pd.Timestamp(today) - pd.DateOffset(years=5)]
        days["tons"] = days["receive_net_ton"].astype(float)
        rollup = self.plant.query(
            "SELECT ddate, source AS source_system, changed_at FROM mart.v_source_days "
            "WHERE csv_type = 'receive' ORDER BY ddate"
        )
        rollup["changed_at"] = pd.to_datetime(rollup["changed_at"])
        days = days.merge(rollup, how="left", on=["ddate", "source_system"])
        days["is_biz"] = days["is_business"] & ~days["is_holiday"] & (days["iso_dow"] != 7)
        return days


@pytest.fixture(scope="module")
def history(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """Weeks 5 to 8 have hardly any receives, weeks 20 to 24 vary wildly; one day in twelve has none at all."""
    random = Random(1234)
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        history = History(plant)
        history.closures = [(date(year, 8, 12), date(year, 8, 16)) for year in range(2021, 2027)]
        overrides = ("FORCE_CLOSED", "FORCE_OPEN", "FORCE_RESERVATION")
        history.exceptions = {
            day: random.choice(overrides) for day in random.sample(days_between(FIRST_DAY, LAST_DAY), 150)
        }
        for day in days_between(FIRST_DAY, LAST_DAY):
            _, week, weekday = day.isocalendar()
            if random.random() < 1 / 12:
                continue
            if week in range(5, 9):
                kg = random.randint(0, 1500)
            elif week in range(20, 25):
                kg = random.choice((200, 900, 2000, 3000, 200_000))
            else:
                kg = random.randint(70_000, 110_000)
            history.king.append(king_row(day, 1, kg // (2 if weekday == 7 else 1)))
        for day in random.sample(days_between(date(2025, 9, 1), TODAY), 30):
            history.final.append(
                {"source": "shogun_final", "ddate": day, "slip": 1, "kg": random.randint(0, 90_000), "yen": 0}
            )
        plant.insert(
            "ref.closure_periods",
            [{"start_date": start, "end_date": end, "closure_name": "夏季休業"} for start, end in history.closures],
        )
        plant.insert(
            "ref.calendar_exception",
            [{"ddate": day, "override_type": override} for day, override in history.exceptions.items()],
        )
        half = len(history.king) // 2
        plant.insert("stg.receive_king_final", history.king[half:])
        plant.bring_up_to_date(RECEIVE_DAILY)
        plant.insert("stg.receive_king_final", history.king[:half])
        plant.upload("shogun_final_receive", [receive_line(line["ddate"], 1, line["kg"], 0) for line in history.final])
        yield history


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(TODAY, id="all that the calendar has"),
        pytest.param(date(2026, 8, 19), id="a window that begins in the calendar"),
        pytest.param(LAST_DAY, id="a week 53 that is last"),
    ],
)
def window(request: pytest.FixtureRequest, history: History) -> Iterator[pd.DataFrame]:
    """The days behind the profiles on a certain day, with the profiles of that day."""
    history.plant.set_today(request.param)
    history.plant.bring_up_to_date()
    yield history.window(request.param)
    history.plant.set_today(TODAY)


def expected_profile(days: pd.DataFrame, key: list[str], tons: str = "tons") -> pd.DataFrame:
    """Mean, deviation, number and variation by key, and when a day among them last changed."""
    grouped = days.groupby(key)
    profile = pd.DataFrame(
        {
            "ave": grouped[tons].mean(),
            "sigma": grouped[tons].std(ddof=1),
            "n": grouped.size(),
            "updated_at": grouped["changed_at"].max(),
        }
    )
    profile["cv"] = (profile["sigma"] / profile["ave"]).where(profile["ave"] > 0)
    return profile.reset_index()


def quality_of(row: "pd.Series[float]") -> str:
    if row["n"] < 3:
        return "LOW_SAMPLE"
    if row["ave"] <= 1:
        return "LOW_MEAN"
    return "HIGH_VARIANCE" if row["cv"] > 0.60 else "OK"


class TestRandomHistory:
    def test_every_day_behind_the_profiles(self, history: History, window: pd.DataFrame) -> None:
        columns = "ddate iso_year iso_week iso_dow day_type is_business is_biz receive_net_ton changed_at"
        assert_same(history.plant.table("mart.v_inb5y_days"), window[columns.split()], ["ddate"])

    def test_every_day_profile(self, history: History, window: pd.DataFrame) -> None:
        expected = expected_profile(window[window["is_biz"]], ["iso_week", "iso_dow"])
        expected["quality"] = expected.apply(quality_of, axis=1)
        assert set(expected["quality"]) == {"LOW_SAMPLE", "LOW_MEAN", "HIGH_VARIANCE", "OK"}
        places = {"ave": 4, "sigma": 4, "cv": 4}
        assert_same(history.plant.table(DAY_BIZ), expected, ["iso_week", "iso_dow"], places)

    def test_every_day_profile_by_scope(self, history: History, window: pd.DataFrame) -> None:
        scopes = {"all": window, "biz": window[window["is_biz"]]}
        expected = pd.concat(
            [expected_profile(days, ["iso_week", "iso_dow"]).assign(scope=scope) for scope, days in scopes.items()]
        )
        expected["criteria"] = [
            {"window_years": 5, "include_holiday": both, "include_sunday": both, "y_filter": "is not null"}
            for both in expected["scope"] == "all"
        ]
        places = {"ave": 4, "sigma": 4, "cv": 4}
        assert_same(history.plant.table(DAY_SCOPE), expected, ["scope", "iso_week", "iso_dow"], places)

    def test_every_week_sum(self, history: History, window: pd.DataFrame) -> None:
        by_week = window[window["is_biz"]].groupby(["iso_year", "iso_week"])
        sums = by_week.agg(tons=("tons", "sum"), changed_at=("changed_at", "max")).reset_index()
        expected = expected_profile(sums, ["iso_week"]).assign(iso_dow=0)
        expected["quality"] = expected.apply(quality_of, axis=1)
        places = {"ave": 2, "sigma": 2, "cv": 4}
        assert_same(history.plant.table(WEEK_SUMS), expected, ["iso_week", "iso_dow"], places)

    def test_every_week_profile(self, history: History, window: pd.DataFrame) -> None:
        open_days = window[window["is_business"]]
        normal_mean = open_days[open_days["day_type"] == "NORMAL"].groupby("iso_week")["tons"].mean()
        reserved = open_days[open_days["day_type"] == "RESERVATION"]
        share = reserved["tons"] / reserved["iso_week"].map(normal_mean)
        shares = share.groupby(reserved["iso_week"]).agg(["size", "mean"]).reindex(normal_mean.index)
        own = shares["size"] >= 3
        assert own.any()
        assert not own.all()

        changed_at = open_days.groupby("iso_week")["changed_at"].max()
        # Behind a factor of all weeks lie the days of every week that has a reservation day.
        of_all_weeks = changed_at[reserved["iso_week"].unique()].max()
        expected = pd.DataFrame(
            {
                "normal_day_mean": normal_mean,
                "reservation_day_mean": normal_mean * shares["mean"].where(own, share.mean()),
                "updated_at": changed_at.where(own, changed_at.clip(lower=of_all_weeks)),
            }
        )
        places = {"normal_day_mean": 4, "reservation_day_mean": 4}
        assert_same(history.plant.table(WEEK_PROFILE), expected.reset_index(), ["iso_week"], places)


class TestUpdatedAt:
    def test_a_changed_day_moves_it_in_exactly_the_rows_that_the_day_lies_behind(self, history: History) -> None:
        plant, day = history.plant, date(2024, 9, 3)  # the Tuesday of week 36
        with plant.trial():
            plant.set_today(TODAY)
            plant.bring_up_to_date(*PROFILES)
            before = {view: plant.table(view) for view in PROFILES}
            plant.upload("shogun_final_receive", [receive_line(day, 1, 123_456)])
            plant.bring_up_to_date(*PROFILES)
            keys = {
                DAY_BIZ: ["iso_week", "iso_dow"],
                DAY_SCOPE: ["scope", "iso_week", "iso_dow"],
                WEEK_SUMS: ["iso_week"],
                WEEK_PROFILE: ["iso_week"],
            }
            moved = {view: self.moved(before[view], plant.table(view), keys[view]) for view in PROFILES}
        assert moved[DAY_BIZ] == {(36, 2)}
        assert moved[DAY_SCOPE] == {("all", 36, 2), ("biz", 36, 2)}
        assert moved[WEEK_SUMS] == {(36,)}
        days = history.window(TODAY)
        reserved = (
            days[days["day_type"] == "RESERVATION"].groupby("iso_week").size().reindex(range(1, 54), fill_value=0)
        )
        with_common_factor = {(week,) for week, number in reserved.items() if number < 3}
        assert moved[WEEK_PROFILE] == {(36,)} | with_common_factor

    def moved(self, before: pd.DataFrame, after: pd.DataFrame, key: list[str]) -> set[tuple[object, ...]]:
        both = before.merge(after, on=key, suffixes=("_before", "_after"))
        assert len(both) == len(after)
        changed = both[both["updated_at_before"] != both["updated_at_after"]]
        assert (changed["updated_at_before"] < changed["updated_at_after"]).all()
        return set(changed[key].itertuples(index=False, name=None))

    def test_a_changed_closed_day_moves_no_row_but_those_of_all_days(self, history: History) -> None:
        plant, day = history.plant, date(2024, 8, 14)
        assert (day, "FORCE_CLOSED") in history.exceptions.items() or day not in history.exceptions
        with plant.trial():
            plant.set_today(TODAY)
            plant.bring_up_to_date(*PROFILES)
            before = {view: plant.table(view) for view in PROFILES}
            plant.upload("shogun_final_receive", [receive_line(day, 1, 123_456)])
            plant.bring_up_to_date(*PROFILES)
            for view, key in (
                (DAY_BIZ, ["iso_week", "iso_dow"]),
                (WEEK_SUMS, ["iso_week"]),
                (WEEK_PROFILE, ["iso_week"]),
            ):
                assert self.moved(before[view], plant.table(view), key) == set()
            assert self.moved(before[DAY_SCOPE], plant.table(DAY_SCOPE), ["scope", "iso_week", "iso_dow"]) == {
                ("all", 33, 3)
            }


def refreshed(plant: Plant) -> dict[str, tuple[int, int]]:
    """Rows inserted and deleted by view, when all is brought up to date in a session of its own, as runs do."""
    with Database(url=plant.settings.resolved_database_url()).connect() as connection:
        results = replace(plant, connection=connection).bring_up_to_date()
    assert {result.mode for result in results.values()} == {"concurrently"}
    return {name: (result.inserted, result.deleted) for name, result in results.items()}


class TestRefresh:
    def test_one_that_changes_nothing_writes_nothing(self, history: History, catalog: Catalog) -> None:
        refreshed(history.plant)
        before = self.rows_as_stored(history.plant, catalog)
        assert refreshed(history.plant) == {view.name: (0, 0) for view in catalog.materialized_views}
        assert self.rows_as_stored(history.plant, catalog) == before

    def test_a_list_sent_again_with_other_names_but_the_same_weights_writes_nothing(
        self, history: History, catalog: Catalog
    ) -> None:
        refreshed(history.plant)
        before = self.rows_as_stored(history.plant, catalog)
        lines = [receive_line(line["ddate"], 1, line["kg"], 0, vendor_name="別名") for line in history.final]
        history.plant.upload("shogun_final_receive", lines)
        assert refreshed(history.plant) == {view.name: (0, 0) for view in catalog.materialized_views}
        assert self.rows_as_stored(history.plant, catalog) == before

    def test_one_changed_day_is_all_that_is_written(self, history: History) -> None:
        refreshed(history.plant)
        history.plant.upload("shogun_final_receive", [receive_line(date(2022, 9, 6), 1, 77_777)])
        written = refreshed(history.plant)
        assert written[RECEIVE_DAILY] == written[DAY_BIZ] == written[WEEK_SUMS] == (1, 1)
        assert written[DAY_SCOPE] == (2, 2)
        assert written["mart.mv_shipment_daily"] == written["mart.mv_yard_daily"] == (0, 0)

    def rows_as_stored(self, plant: Plant, catalog: Catalog) -> dict[str, list[object]]:
        """Where each row lies and which transaction wrote it."""
        return {
            view.name: plant.query(f"SELECT ctid::text, xmin::text FROM {view.name} ORDER BY ctid").values.tolist()
            for view in catalog.materialized_views
        }
