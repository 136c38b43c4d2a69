"""The business date, the calendar and its classification, active rows, and what counts of the old system."""

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.settings import Settings
from mv_pipeline_tests.sql.history import (
    FIRST_DAY,
    LAST_DAY,
    TODAY,
    Plant,
    assert_same,
    calendar,
    days_between,
    king_lines,
    king_row,
    new_plant,
    receive_line,
)

CALENDAR = "ref.v_calendar_classified"

# The overlapping, nested, neighbouring and single-day periods that people may enter.
CLOSURES = [
    (date(2021, 12, 30), date(2022, 1, 3), "年末年始休業"),
    (date(2024, 8, 10), date(2024, 8, 15), "夏季休業"),
    (date(2024, 8, 14), date(2024, 8, 18), "設備点検"),
    (date(2024, 8, 12), date(2024, 8, 12), "夏季休業"),
    (date(2025, 5, 1), date(2025, 5, 1), "創立記念日"),
    (date(2025, 5, 2), date(2025, 5, 4), "連休"),
    (date(2026, 12, 30), date(2027, 1, 3), "年末年始休業"),
]
EXCEPTIONS = {
    date(2024, 8, 11): "FORCE_OPEN",
    date(2024, 8, 13): "FORCE_RESERVATION",
    date(2024, 8, 14): "FORCE_OPEN",
    date(2025, 6, 2): "FORCE_CLOSED",
    date(2025, 6, 3): "FORCE_RESERVATION",
    date(2025, 6, 4): "FORCE_OPEN",
    date(2025, 6, 7): "FORCE_CLOSED",
    date(2025, 6, 8): "FORCE_RESERVATION",
    date(2025, 6, 15): "FORCE_OPEN",
    date(2025, 11, 3): "FORCE_CLOSED",
    date(2025, 11, 24): "FORCE_OPEN",
}


@pytest.fixture
def classified(plant: Plant) -> Plant:
    plant.insert(
        "ref.closure_periods",
        [{"start_date": start, "end_date": end, "closure_name": name} for start, end, name in CLOSURES],
    )
    plant.insert("ref.calendar_exception", [{"ddate": day, "override_type": kind} for day, kind in EXCEPTIONS.items()])
    return plant


class TestBusinessDate:
    def test_the_setting_wins(self, plant: Plant) -> None:
        assert plant.query("SELECT ref.business_date() AS today")["today"].tolist() == [pd.Timestamp(TODAY)]

    @pytest.mark.parametrize("time_zone", ["Asia/Tokyo", "UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
    def test_without_the_setting_it_is_today_in_tokyo(self, plant: Plant, time_zone: str) -> None:
        plant.connection.execute("SELECT set_config('TimeZone', %s, true)", [time_zone])
        plant.connection.execute("SET LOCAL mv_pipeline.business_date = ''")
        before = datetime.now(ZoneInfo("Asia/Tokyo")).date()
        today = plant.query("SELECT ref.business_date() AS today")["today"].item().date()
        assert before <= today <= datetime.now(ZoneInfo("Asia/Tokyo")).date()

    def test_it_follows_the_setting_at_once(self, plant: Plant) -> None:
        plant.set_today(date(2024, 2, 29))
        assert plant.query("SELECT ref.business_date() AS today")["today"].item() == pd.Timestamp("2024-02-29")

    def test_a_database_that_never_heard_of_the_setting_has_today_in_tokyo(
        self, server: Settings, template: str, catalog: Catalog, tmp_path: Path
    ) -> None:
        with new_plant(server, template, catalog, tmp_path) as plant:
            plant.connection.execute(f"ALTER DATABASE {plant.connection.info.dbname} RESET mv_pipeline.business_date")
            with psycopg.connect(plant.settings.resolved_database_url()) as connection:
                before = datetime.now(ZoneInfo("Asia/Tokyo")).date()
                (today,) = connection.execute("SELECT ref.business_date()").fetchone() or ()
                assert before <= today <= datetime.now(ZoneInfo("Asia/Tokyo")).date()


class TestCalendarDay:
    def test_it_has_every_day_from_2021_to_the_end_of_next_year(self, empty_plant: Plant) -> None:
        days = empty_plant.table("ref.calendar_day")["ddate"].dt.date
        assert sorted(days) == days_between(FIRST_DAY, LAST_DAY)

    def test_its_parts_are_those_of_the_iso_calendar(self, empty_plant: Plant) -> None:
        days = empty_plant.table("ref.calendar_day")
        for day, *parts in days[["ddate", "y", "m", "iso_year", "iso_week", "iso_dow"]].itertuples(index=False):
            assert parts == [day.year, day.month, *day.date().isocalendar()]


class TestHolidays:
    """As the Cabinet Office announced them; substitute and sandwiched holidays are holidays too."""

    @pytest.mark.parametrize(
        ("year", "month_days"),
        [
            (2021, "1-1 1-11 2-11 2-23 3-20 4-29 5-3 5-4 5-5 7-22 7-23 8-8 8-9 9-20 9-23 11-3 11-23"),
            (2025, "1-1 1-13 2-11 2-23 2-24 3-20 4-29 5-3 5-4 5-5 5-6 7-21 8-11 9-15 9-23 10-13 11-3 11-23 11-24"),
            (2026, "1-1 1-12 2-11 2-23 3-20 4-29 5-3 5-4 5-5 5-6 7-20 8-11 9-21 9-22 9-23 10-12 11-3 11-23"),
        ],
    )
    def test_the_holidays_of_a_year(self, empty_plant: Plant, year: int, month_days: str) -> None:
        days = empty_plant.table("ref.holiday_jp")["hdate"]
        found = [f"{day.month}-{day.day}" for day in sorted(days) if day.year == year]
        assert found == month_days.split()


class TestClassification:
    def test_every_day_is_classified_as_the_rules_say(self, classified: Plant) -> None:
        holidays = classified.table("ref.holiday_jp")["hdate"].dt.date
        expected = calendar(holidays, [(start, end) for start, end, _ in CLOSURES], EXCEPTIONS)
        assert_same(classified.table(CALENDAR), expected, ["ddate"])

    def test_without_closures_and_exceptions_too(self, plant: Plant) -> None:
        assert_same(plant.table(CALENDAR), calendar(plant.table("ref.holiday_jp")["hdate"].dt.date), ["ddate"])

    @pytest.mark.parametrize(
        ("day", "day_type", "is_business"),
        [
            pytest.param(date(2025, 12, 11), "NORMAL", True, id="a Thursday"),
            pytest.param(date(2025, 12, 13), "NORMAL", True, id="a Saturday"),
            pytest.param(date(2025, 12, 7), "RESERVATION", True, id="the first Sunday"),
            pytest.param(date(2025, 12, 14), "CLOSED", False, id="the second Sunday"),
            pytest.param(date(2025, 12, 21), "RESERVATION", True, id="the third Sunday"),
            pytest.param(date(2026, 2, 1), "RESERVATION", True, id="a Sunday that is the first of its month"),
            pytest.param(date(2026, 2, 8), "CLOSED", False, id="a second Sunday on the earliest day there is"),
            pytest.param(date(2025, 9, 14), "CLOSED", False, id="a second Sunday on the latest day there is"),
            pytest.param(date(2025, 9, 15), "RESERVATION", True, id="a holiday on a Monday"),
            pytest.param(date(2025, 2, 23), "RESERVATION", True, id="a holiday on a Sunday"),
            pytest.param(date(2024, 8, 11), "CLOSED", False, id="a holiday on a second Sunday"),
        ],
    )
    def test_a_day_by_itself(self, plant: Plant, day: date, day_type: str, is_business: bool) -> None:
        assert plant.values(CALENDAR, "day_type is_business", ddate=day) == (day_type, is_business)

    @pytest.mark.parametrize(
        ("day", "kind"),
        [
            (date(2025, 12, 9), "a weekday"),
            (date(2025, 12, 7), "a Sunday"),
            (date(2025, 11, 24), "a holiday"),
            (date(2025, 12, 14), "a second Sunday"),
        ],
    )
    def test_a_company_closure_closes_any_day(self, plant: Plant, day: date, kind: str) -> None:
        plant.insert("ref.closure_periods", [{"start_date": day, "end_date": day, "closure_name": "休業"}])
        assert plant.values(CALENDAR, "is_company_closed day_type is_business", ddate=day) == (True, "CLOSED", False)

    def test_a_closure_includes_both_ends_and_nothing_more(self, plant: Plant) -> None:
        plant.insert(
            "ref.closure_periods",
            [{"start_date": date(2025, 8, 13), "end_date": date(2025, 8, 16), "closure_name": "夏季休業"}],
        )
        days = plant.table(CALENDAR)
        closed = days.loc[days["is_company_closed"].astype(bool), "ddate"].dt.date.tolist()
        assert sorted(closed) == days_between(date(2025, 8, 13), date(2025, 8, 16))

    @pytest.mark.parametrize(
        ("override", "day_type", "is_business"),
        [
            ("FORCE_CLOSED", "CLOSED", False),
            ("FORCE_OPEN", "NORMAL", True),
            ("FORCE_RESERVATION", "RESERVATION", True),
        ],
    )
    @pytest.mark.parametrize(
        "day",
        [
            pytest.param(date(2025, 6, 2), id="a weekday"),
            pytest.param(date(2025, 6, 1), id="a Sunday"),
            pytest.param(date(2025, 6, 8), id="a second Sunday"),
            pytest.param(date(2025, 11, 3), id="a holiday"),
            pytest.param(date(2025, 8, 14), id="a closed day"),
        ],
    )
    def test_an_exception_overrides_whatever_the_day_is(
        self, plant: Plant, day: date, override: str, day_type: str, is_business: bool
    ) -> None:
        plant.insert(
            "ref.closure_periods",
            [{"start_date": date(2025, 8, 13), "end_date": date(2025, 8, 16), "closure_name": "夏季休業"}],
        )
        facts = "is_holiday is_second_sunday is_company_closed"
        before = plant.values(CALENDAR, facts, ddate=day)
        plant.insert("ref.calendar_exception", [{"ddate": day, "override_type": override}])
        assert plant.values(CALENDAR, "day_type is_business", ddate=day) == (day_type, is_business)
        assert plant.values(CALENDAR, facts, ddate=day) == before


class TestClosureDays:
    def test_every_closure_is_spelled_out_day_by_day(self, classified: Plant) -> None:
        spelled_out = classified.table("ref.v_closure_days")
        expected = [(day, name) for start, end, name in CLOSURES for day in days_between(start, end)]
        assert sorted(zip(spelled_out["ddate"].dt.date, spelled_out["closure_name"], strict=True)) == sorted(expected)

    def test_overlapping_closures_leave_one_row_a_day_in_the_calendar(self, classified: Plant) -> None:
        assert len(classified.rows("ref.v_closure_days", ddate=date(2024, 8, 12))) == 2
        assert len(classified.rows("ref.v_closure_days", ddate=date(2024, 8, 15))) == 2
        assert classified.table(CALENDAR)["ddate"].is_unique


class TestActiveRows:
    @pytest.fixture
    def uploaded(self, plant: Plant) -> Plant:
        """Two days, of which the second was sent again with one line less."""
        first, second = date(2025, 12, 1), date(2025, 12, 2)
        plant.upload(
            "shogun_final_receive",
            [receive_line(first, 1, 10), receive_line(second, 2, 20), receive_line(second, 3, 30)],
        )
        plant.upload("shogun_final_receive", [receive_line(second, 2, 25)])
        return plant

    def test_of_each_day_only_the_last_upload_is_active(self, uploaded: Plant) -> None:
        active = uploaded.table("stg.v_active_shogun_final_receive")
        assert sorted(zip(active["slip_date"].dt.day, active["net_weight"], strict=True)) == [(1, 10), (2, 25)]

    def test_replaced_rows_are_marked_and_stay(self, uploaded: Plant) -> None:
        rows = uploaded.table("stg.shogun_final_receive")
        assert sorted(rows.loc[rows["is_deleted"].astype(bool), "net_weight"]) == [20, 30]

    def test_an_active_row_shows_what_is_in_the_table(self, uploaded: Plant) -> None:
        active = uploaded.table("stg.v_active_shogun_final_receive")
        rows = uploaded.table("stg.shogun_final_receive")
        assert_same(active, rows.loc[~rows["is_deleted"].astype(bool), list(active.columns)], ["id"])

    @pytest.mark.parametrize("version", ["flash", "final"])
    @pytest.mark.parametrize("csv_type", ["receive", "shipment", "yard"])
    def test_each_kind_has_its_own_active_view(self, plant: Plant, version: str, csv_type: str) -> None:
        table = f"shogun_{version}_{csv_type}"
        plant.insert(f"stg.{table}", [{"net_weight": kg, "is_deleted": kg > 2} for kg in (1, 2, 3)])
        assert sorted(plant.table(f"stg.v_active_{table}")["net_weight"]) == [1, 2]


class TestKingReceiveClean:
    CLEAN = "stg.v_king_receive_clean"

    @pytest.mark.parametrize("text", ["2023-04-05", "2023/04/05"])
    def test_a_date_is_read_in_both_spellings(self, plant: Plant, text: str) -> None:
        plant.insert("stg.receive_king_final", [king_row(text, 7, 1200, 3400)])
        columns = "invoice_d invoice_no net_weight_detail amount"
        assert plant.values(self.CLEAN, columns, invoice_no=7) == (date(2023, 4, 5), 7, 1200, 3400)

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "不明",
            "2023-02-29",
            "2023/13/01",
            "2023-00-10",
            "2023/04",
            "20230405",
            "0000-00-00",
            "2023-04-05x",
        ],
    )
    def test_a_row_without_a_real_date_does_not_count(self, plant: Plant, text: str | None) -> None:
        plant.insert("stg.receive_king_final", [king_row(text, 7, 1200)])
        assert plant.rows(self.CLEAN, invoice_no=7) == []

    def test_the_29th_of_february_is_a_date_in_a_leap_year(self, plant: Plant) -> None:
        plant.insert("stg.receive_king_final", [king_row("2024/02/29", 7, 1200)])
        assert plant.values(self.CLEAN, "invoice_d", invoice_no=7) == (date(2024, 2, 29),)

    @pytest.mark.parametrize(
        ("vehicle_type", "counts"), [(1, True), (0, False), (2, False), (11, False), (None, False)]
    )
    def test_only_vehicle_type_1_counts(self, plant: Plant, vehicle_type: int | None, counts: bool) -> None:
        plant.insert("stg.receive_king_final", [king_row("2023-04-05", 7, 1200, vehicle_type=vehicle_type)])
        assert bool(plant.rows(self.CLEAN, invoice_no=7)) is counts

    @pytest.mark.parametrize(("kg", "counts"), [(1, True), (-300, True), (0, False), (None, False)])
    def test_a_row_counts_if_it_weighs_something(self, plant: Plant, kg: int | None, counts: bool) -> None:
        plant.insert("stg.receive_king_final", [king_row("2023-04-05", 7, kg)])
        assert bool(plant.rows(self.CLEAN, invoice_no=7)) is counts

    def test_of_many_rows_exactly_the_clean_ones_are_there(self, plant: Plant) -> None:
        texts = ["2023-04-05", "2023/04/06", "2023/02/30", "", None]
        rows = [
            king_row(text, 1000 * place + 100 * number + 10 * vehicle_type, kg, 5 * kg, vehicle_type)
            for place, text in enumerate(texts)
            for number, kg in enumerate((0, 700, -20))
            for vehicle_type in (1, 2)
        ]
        plant.insert("stg.receive_king_final", rows)
        clean = plant.table(self.CLEAN)
        expected = king_lines(rows).drop(columns="source")
        expected.columns = clean.columns
        assert_same(clean, expected, ["invoice_no"])
