"""mart.mv_receive_daily and the views on it: what came in per day, month and week."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pandas as pd
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.demo import sample
from mv_pipeline.settings import Settings
from mv_pipeline_tests.sql.history import (
    FIRST_DAY,
    TODAY,
    Plant,
    Row,
    active_lines,
    as_counted,
    assert_same,
    calendar,
    counted_days,
    days_between,
    king_lines,
    king_row,
    new_plant,
    read_lines,
    receive_days,
    receive_line,
)

DAILY = "mart.mv_receive_daily"
FINAL, FLASH = "shogun_final_receive", "shogun_flash_receive"
DAY = date(2025, 12, 1)

TONS, VEHICLES, AVERAGE, PRICE = (
    "receive_net_ton",
    "receive_vehicle_count",
    "avg_weight_kg_per_vehicle",
    "unit_price_yen_per_kg",
)


def received(plant: Plant, columns: str, day: date = DAY) -> tuple[object, ...]:
    """Some columns of a day, after everything has been brought up to date."""
    plant.bring_up_to_date(DAILY)
    return plant.values(DAILY, columns, ddate=day)


class TestDays:
    def test_there_is_one_row_for_every_calendar_day_up_to_yesterday(self, empty_plant: Plant) -> None:
        days = empty_plant.table(DAILY)["ddate"].dt.date
        assert len(days) == 1805
        assert sorted(days) == days_between(FIRST_DAY, TODAY - timedelta(days=1))

    def test_a_day_without_lines_has_zeros_and_no_source(self, plant: Plant) -> None:
        columns = f"{TONS} {VEHICLES} {AVERAGE} sales_yen {PRICE} source_system"
        assert received(plant, columns) == (0, 0, None, 0, None, None)

    def test_a_day_shows_how_the_calendar_classifies_it(self, plant: Plant) -> None:
        columns = "y m iso_year iso_week iso_dow is_business is_holiday day_type"
        assert received(plant, columns, date(2024, 12, 30)) == (2024, 12, 2025, 1, 1, True, False, "NORMAL")
        assert received(plant, columns, date(2025, 11, 24)) == (2025, 11, 2025, 48, 1, True, True, "RESERVATION")
        assert received(plant, columns, date(2025, 11, 9)) == (2025, 11, 2025, 45, 7, False, False, "CLOSED")

    def test_today_and_later_days_are_not_shown_whatever_lines_they_have(self, plant: Plant) -> None:
        yesterday, tomorrow = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
        plant.upload(FLASH, [receive_line(day, 1, 5000) for day in (yesterday, TODAY, tomorrow, date(2026, 12, 31))])
        assert received(plant, TONS, yesterday) == (5,)
        assert plant.table(DAILY)["ddate"].max() == pd.Timestamp(yesterday)

    def test_a_day_appears_once_it_has_passed(self, plant: Plant) -> None:
        plant.upload(FLASH, [receive_line(TODAY, 1, 5000)])
        plant.bring_up_to_date(DAILY)
        plant.set_today(TODAY + timedelta(days=1))
        assert received(plant, TONS, TODAY) == (5,)
        assert len(plant.table(DAILY)) == 1806


class TestSources:
    @pytest.mark.parametrize(
        ("sources", "counted", "tons"),
        [
            ("final", "shogun_final", 1),
            ("flash", "shogun_flash", 20),
            ("king", "king", 300),
            ("final flash", "shogun_final", 1),
            ("final king", "shogun_final", 1),
            ("flash king", "shogun_flash", 20),
            ("final flash king", "shogun_final", 1),
        ],
    )
    def test_of_the_sources_with_lines_final_counts_before_flash_before_king(
        self, plant: Plant, sources: str, counted: str, tons: int
    ) -> None:
        if "king" in sources:
            plant.insert("stg.receive_king_final", [king_row(DAY, number, 100_000, 30) for number in (1, 2, 3)])
        if "final" in sources:
            plant.upload(FINAL, [receive_line(DAY, 1, 1000, 10)])
        if "flash" in sources:
            plant.upload(FLASH, [receive_line(DAY, number, 10_000, 20) for number in (8, 9)])
        yen, vehicles = {"shogun_final": (10, 1), "shogun_flash": (40, 2), "king": (90, 3)}[counted]
        assert received(plant, f"source_system {TONS} {VEHICLES} sales_yen") == (counted, tons, vehicles, yen)

    def test_each_day_chooses_for_itself(self, plant: Plant) -> None:
        days = [DAY + timedelta(days=number) for number in range(4)]
        plant.insert("stg.receive_king_final", [king_row(day, 1, 3000) for day in days[:3]])
        plant.upload(FLASH, [receive_line(day, 1, 2000) for day in days[:2]])
        plant.upload(FINAL, [receive_line(days[0], 1, 1000)])
        plant.bring_up_to_date(DAILY)
        found = [plant.values(DAILY, f"source_system {TONS}", ddate=day) for day in days]
        assert found == [("shogun_final", 1), ("shogun_flash", 2), ("king", 3), (None, 0)]

    def test_a_final_list_counts_even_if_it_weighs_nothing(self, plant: Plant) -> None:
        plant.upload(FLASH, [receive_line(DAY, 1, 2000, 50)])
        plant.upload(FINAL, [receive_line(DAY, 1, 0, None)])
        assert received(plant, f"source_system {TONS} {VEHICLES} sales_yen") == ("shogun_final", 0, 1, 0)

    def test_a_final_list_that_comes_later_takes_over(self, plant: Plant) -> None:
        plant.upload(FLASH, [receive_line(DAY, 1, 2000)])
        assert received(plant, f"source_system {TONS}") == ("shogun_flash", 2)
        plant.upload(FINAL, [receive_line(DAY, 1, 1900)])
        assert received(plant, f"source_system {TONS}") == ("shogun_final", Decimal("1.9"))

    def test_king_days_that_no_row_of_king_counts_for_have_no_source(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", [king_row(DAY, 1, 0, 500), king_row(DAY, 2, 800, 500, vehicle_type=2)])
        assert received(plant, f"source_system {TONS} sales_yen") == (None, 0, 0)

    def test_king_dates_in_both_spellings_are_one_day(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", [king_row("2025-12-01", 1, 300, 5), king_row("2025/12/01", 2, 400, 6)])
        assert received(plant, f"{TONS} {VEHICLES} sales_yen") == (Decimal("0.7"), 2, 11)


class TestLines:
    def test_a_vehicle_is_counted_once_however_many_lines_its_slip_has(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, slip, 100 + n) for n, slip in enumerate((501, 501, 502, 501, 503))])
        assert received(plant, f"{VEHICLES} {TONS} {AVERAGE}") == (3, Decimal("0.51"), 170)

    def test_a_king_vehicle_is_counted_once_too(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", [king_row(DAY, invoice, 600) for invoice in (7, 8, 7)])
        assert received(plant, f"{VEHICLES} {AVERAGE}") == (2, 900)

    def test_the_same_slip_number_on_another_day_is_another_vehicle(self, plant: Plant) -> None:
        next_day = DAY + timedelta(days=1)
        plant.upload(FINAL, [receive_line(DAY, 501, 100), receive_line(next_day, 501, 200)])
        assert received(plant, f"{VEHICLES} {TONS}") == (1, Decimal("0.1"))
        assert received(plant, f"{VEHICLES} {TONS}", next_day) == (1, Decimal("0.2"))

    def test_a_line_without_weight_or_amount_adds_nothing_but_its_vehicle(self, plant: Plant) -> None:
        plant.upload(
            FINAL, [receive_line(DAY, 1, 400, None), receive_line(DAY, 2, None, 900), receive_line(DAY, 3, None, None)]
        )
        columns = f"{TONS} {VEHICLES} {AVERAGE} sales_yen {PRICE}"
        assert received(plant, columns) == (Decimal("0.4"), 3, Decimal("133.333"), 900, Decimal("2.25"))

    def test_a_line_without_a_slip_number_weighs_but_is_no_vehicle(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, None, 400, 800)])
        assert received(plant, f"{TONS} {VEHICLES} {AVERAGE} {PRICE}") == (Decimal("0.4"), 0, None, 2)

    def test_averages_and_prices_come_from_unrounded_sums(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, slip, "0.4", "100.4") for slip in (1, 2, 3)])
        # 1.2 kg are 0.001 t and 301.2 yen are 301 yen; 1 kg / 3 would be 0.333, 301 yen / 1 kg would be 301.
        columns = f"{TONS} sales_yen {AVERAGE} {PRICE}"
        assert received(plant, columns) == (Decimal("0.001"), 301, Decimal("0.4"), 251)

    def test_a_price_is_there_even_if_the_tons_round_to_zero(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, 1, "0.4", 10)])
        assert received(plant, f"{TONS} {PRICE}") == (0, 25)

    @pytest.mark.parametrize("kg", [0, -500])
    def test_there_is_no_unit_price_unless_something_weighs(self, plant: Plant, kg: int) -> None:
        plant.upload(FINAL, [receive_line(DAY, 1, kg, 800)])
        assert received(plant, f"{TONS} sales_yen {PRICE}") == (Decimal(kg) / 1000, 800, None)

    def test_only_the_last_upload_of_a_day_counts(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, slip, 1000, 10) for slip in (1, 2, 3)])
        plant.upload(FINAL, [receive_line(DAY, 2, 1500, 15)])
        assert received(plant, f"{TONS} {VEHICLES} sales_yen") == (Decimal("1.5"), 1, 15)

    def test_a_day_whose_final_lines_are_all_deleted_falls_back_to_flash(self, plant: Plant) -> None:
        plant.upload(FLASH, [receive_line(DAY, 1, 2000)])
        plant.upload(FINAL, [receive_line(DAY, 1, 1000)])
        assert received(plant, "source_system") == ("shogun_final",)
        plant.connection.execute("UPDATE stg.shogun_final_receive SET is_deleted = true")
        assert received(plant, f"source_system {TONS}") == ("shogun_flash", 2)

    def test_a_deleted_line_among_others_does_not_count(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(DAY, 1, 1000, 10), receive_line(DAY, 2, 4000, 40)])
        plant.connection.execute("UPDATE stg.shogun_final_receive SET is_deleted = true WHERE receive_no = 2")
        assert received(plant, f"{TONS} {VEHICLES} sales_yen") == (1, 1, 10)

    def test_a_line_without_a_slip_date_counts_nowhere(self, plant: Plant) -> None:
        line = {"receive_no": 1, "net_weight": 9000, "amount": 90}
        plant.insert("stg.shogun_final_receive", [{"slip_date": None, **line}, {"slip_date": DAY, **line}])
        plant.bring_up_to_date(DAILY)
        days = plant.table(DAILY)
        assert days[TONS].sum() == 9
        assert days["source_system"].notna().sum() == 1


@dataclass
class History:
    """A random history: what was put in, by source."""

    plant: Plant
    king: list[Row] = field(default_factory=list)
    uploads: list[pd.DataFrame] = field(default_factory=list)

    def upload(self, source: str, lines: list[Row]) -> None:
        """Upload a list, and keep what is in it."""
        self.plant.upload(
            f"{source}_receive",
            [receive_line(line["ddate"], line["slip"], line["kg"], line["yen"]) for line in lines],
        )
        self.uploads.append(pd.DataFrame(lines, dtype=object).assign(source=source, upload=len(self.uploads)))

    @property
    def active(self) -> pd.DataFrame:
        """The lines of all sources that are active in the end."""
        uploaded = pd.concat(self.uploads, ignore_index=True)
        uploaded["ddate"] = pd.to_datetime(uploaded["ddate"])
        return pd.concat([active_lines(uploaded).drop(columns="upload"), king_lines(self.king)], ignore_index=True)


@pytest.fixture(scope="module")
def history(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """Five years of king, then months in which all three sources overlap, days are sent again, and some are missing."""
    random = Random(20251211)
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        history = History(plant)
        plant.insert(
            "ref.closure_periods",
            [
                {"start_date": date(year, 8, 12), "end_date": date(year, 8, 16), "closure_name": "夏季休業"}
                for year in range(2021, 2027)
            ],
        )
        plant.insert("ref.calendar_exception", [{"ddate": date(2025, 11, 2), "override_type": "FORCE_CLOSED"}])
        for day in days_between(date(2020, 12, 28), date(2025, 11, 24)):
            if random.random() < 0.8:
                history.king += [
                    king_row(
                        random.choice([f"{day}", f"{day:%Y/%m/%d}", f"{day}", f"{day:%Y/%m}/32"]),
                        random.randint(1, 4),
                        random.choice([0, None, -250, *(random.randint(100, 9000) for _ in range(9))]),
                        random.choice([None, 0, random.randint(-9000, 90_000)]),
                        random.choice([1, 1, 1, 1, 2]),
                    )
                    for _ in range(random.randint(1, 5))
                ]
        plant.insert("stg.receive_king_final", history.king)
        plant.bring_up_to_date(DAILY)
        for start in days_between(date(2025, 11, 1), date(2025, 12, 14))[::7]:
            for source in ("shogun_flash", "shogun_final", "shogun_flash", "shogun_final"):
                lines = [
                    {
                        "ddate": day,
                        "slip": random.randint(1, 6),
                        "kg": random.choice(
                            [None, 0, -120, *(Decimal(random.randint(1, 40_000)) / 4 for _ in range(9))]
                        ),
                        "yen": random.choice([None, Decimal(random.randint(-50_000, 900_000)) / 4]),
                    }
                    for day in days_between(start - timedelta(days=2), start + timedelta(days=7))
                    if random.random() < 0.5
                    for _ in range(random.randint(1, 6))
                ]
                history.upload(source, lines)
                plant.bring_up_to_date(DAILY)
        yield history


@pytest.fixture(scope="module")
def expected(history: History) -> pd.DataFrame:
    """What mart.mv_receive_daily has to hold after that history."""
    days = calendar(
        history.plant.table("ref.holiday_jp")["hdate"].dt.date,
        [(date(year, 8, 12), date(year, 8, 16)) for year in range(2021, 2027)],
        {date(2025, 11, 2): "FORCE_CLOSED"},
    )
    return receive_days(history.active, days)


class TestRandomHistory:
    def test_the_history_has_days_of_every_source_and_days_of_none(self, expected: pd.DataFrame) -> None:
        assert {"shogun_final", "shogun_flash", "king"} <= set(expected["source_system"])
        assert expected["source_system"].isna().any()

    def test_every_day_holds_what_came_in(self, history: History, expected: pd.DataFrame) -> None:
        assert_same(history.plant.table(DAILY), expected, ["ddate"])

    def test_the_dashboards_view_is_the_same_column_for_column(self, history: History, expected: pd.DataFrame) -> None:
        dashboard = history.plant.table("mart.v_receive_daily")
        assert list(dashboard.columns) == list(history.plant.table(DAILY).columns)
        assert_same(dashboard, expected, ["ddate"])

    @pytest.mark.parametrize(
        ("view", "period", "first", "last"),
        [
            ("mart.v_receive_monthly", ["y", "m"], "month_start", "month_end"),
            ("mart.v_receive_weekly", ["iso_year", "iso_week"], "week_start", "week_end"),
        ],
    )
    def test_months_and_weeks_add_up_their_days(
        self, history: History, expected: pd.DataFrame, view: str, period: list[str], first: str, last: str
    ) -> None:
        sums = expected.groupby(period).agg(
            **{
                first: ("ddate", "min"),
                last: ("ddate", "max"),
                TONS: (TONS, "sum"),
                VEHICLES: (VEHICLES, "sum"),
                "sales_yen": ("sales_yen", "sum"),
                "business_days": ("is_business", "sum"),
                "total_days": ("ddate", "size"),
            }
        )
        assert_same(history.plant.table(view), sums.reset_index(), period)


class TestPeriods:
    def test_a_week_belongs_to_its_iso_year(self, plant: Plant) -> None:
        plant.upload(FINAL, [receive_line(day, 1, 1000) for day in (date(2024, 12, 30), date(2025, 1, 5))])
        plant.bring_up_to_date(DAILY)
        columns = f"week_start week_end {TONS} {VEHICLES} total_days"
        assert plant.values("mart.v_receive_weekly", columns, iso_year=2025, iso_week=1) == (
            date(2024, 12, 30),
            date(2025, 1, 5),
            2,
            2,
            7,
        )
        assert plant.rows("mart.v_receive_weekly", iso_year=2024, iso_week=53) == []

    def test_the_running_month_ends_yesterday(self, plant: Plant) -> None:
        columns = "month_start month_end business_days total_days"
        month = plant.values("mart.v_receive_monthly", columns, y=2025, m=12)
        assert month == (date(2025, 12, 1), date(2025, 12, 10), 10, 10)

    def test_business_days_leave_out_second_sundays(self, plant: Plant) -> None:
        assert plant.values("mart.v_receive_monthly", "business_days total_days", y=2025, m=11) == (29, 30)


@pytest.fixture(scope="module")
def sampled(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Plant, pd.DataFrame]]:
    home = tmp_path_factory.mktemp("plant")
    with new_plant(server, template, catalog, home) as plant:
        lines = []
        for path in sample.write_files(plant.settings.inbox_dir, date(2025, 12, 14), weeks=3, seed=7):
            kind = path.parent.name
            if kind in (FINAL, FLASH):
                lines.append(as_counted(read_lines(path), kind.removesuffix("_receive"), "受入番号"))
                plant.take(kind, path)
        plant.bring_up_to_date()
        yield plant, pd.concat(lines, ignore_index=True)


class TestSampleFiles:
    """The sample generator's files, in all the forms that real exports have, read here with nothing but csv."""

    def test_every_day_holds_what_is_in_the_files(self, sampled: tuple[Plant, pd.DataFrame]) -> None:
        plant, lines = sampled
        days = calendar(plant.table("ref.holiday_jp")["hdate"].dt.date)
        assert_same(plant.table(DAILY), receive_days(lines, days), ["ddate"])

    def test_the_files_show_final_days_and_newer_flash_days(self, sampled: tuple[Plant, pd.DataFrame]) -> None:
        _, lines = sampled
        assert set(counted_days(lines, ["shogun_final", "shogun_flash"])["source"]) == {"shogun_final", "shogun_flash"}
