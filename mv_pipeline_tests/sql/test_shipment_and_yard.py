"""mart.mv_shipment_daily and mart.mv_yard_daily: what went out, and what was handled in the yard, per day."""

from collections.abc import Callable, Iterator
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
    SHOGUN_SOURCES,
    TODAY,
    Plant,
    active_lines,
    as_counted,
    assert_same,
    counted_days,
    days_between,
    king_row,
    new_plant,
    read_lines,
    receive_line,
    round_to,
    shipment_line,
    yard_line,
)

DAY = date(2025, 12, 1)
SLIP_HEADERS = {"shipment": "出荷番号", "yard": "伝票番号"}
LINES: dict[str, Callable[..., dict[str, str]]] = {"shipment": shipment_line, "yard": yard_line}
TOTALS = "source_system line_count slip_count net_ton amount_yen"

pytestmark = pytest.mark.parametrize("csv_type", ["shipment", "yard"])


def totals(plant: Plant, csv_type: str, day: date = DAY) -> tuple[object, ...]:
    """Source, lines, slips, tons and yen of a day, after everything has been brought up to date."""
    view = f"mart.mv_{csv_type}_daily"
    plant.bring_up_to_date(view)
    return plant.values(view, TOTALS, ddate=day)


def test_there_is_one_row_for_every_calendar_day_up_to_yesterday(empty_plant: Plant, csv_type: str) -> None:
    days = empty_plant.table(f"mart.mv_{csv_type}_daily")["ddate"].dt.date
    assert sorted(days) == days_between(FIRST_DAY, TODAY - timedelta(days=1))


def test_a_day_without_lines_has_zeros_and_no_source(plant: Plant, csv_type: str) -> None:
    assert totals(plant, csv_type) == (None, 0, 0, 0, 0)


def test_a_slip_is_counted_once_however_many_lines_it_has(plant: Plant, csv_type: str) -> None:
    line = LINES[csv_type]
    plant.upload(f"shogun_final_{csv_type}", [line(DAY, slip, 1250, 300) for slip in (7, 7, 8, 7)])
    assert totals(plant, csv_type) == ("shogun_final", 4, 2, 5, 1200)


def test_final_counts_before_flash_for_the_whole_day(plant: Plant, csv_type: str) -> None:
    line, next_day = LINES[csv_type], DAY + timedelta(days=1)
    plant.upload(f"shogun_flash_{csv_type}", [line(day, slip, 900, 50) for day in (DAY, next_day) for slip in (1, 2)])
    plant.upload(f"shogun_final_{csv_type}", [line(DAY, 1, 1000, 60)])
    assert totals(plant, csv_type) == ("shogun_final", 1, 1, 1, 60)
    assert totals(plant, csv_type, next_day) == ("shogun_flash", 2, 2, Decimal("1.8"), 100)


def test_other_lists_and_the_old_system_do_not_count(plant: Plant, csv_type: str) -> None:
    other = "yard" if csv_type == "shipment" else "shipment"
    plant.upload("shogun_final_receive", [receive_line(DAY, 1, 1000, 10)])
    plant.upload(f"shogun_final_{other}", [LINES[other](DAY, 1, 1000, 10)])
    plant.insert("stg.receive_king_final", [king_row(DAY, 1, 1000, 10)])
    assert totals(plant, csv_type) == (None, 0, 0, 0, 0)


def test_a_line_without_weight_or_amount_is_a_line_all_the_same(plant: Plant, csv_type: str) -> None:
    line = LINES[csv_type]
    plant.upload(f"shogun_final_{csv_type}", [line(DAY, 1, None, 70), line(DAY, 2, 500, None), line(DAY, 3, None)])
    assert totals(plant, csv_type) == ("shogun_final", 3, 3, Decimal("0.5"), 70)


def test_only_the_last_upload_of_a_day_counts(plant: Plant, csv_type: str) -> None:
    line = LINES[csv_type]
    plant.upload(f"shogun_flash_{csv_type}", [line(DAY, slip, 1000, 10) for slip in (1, 2, 3)])
    plant.upload(f"shogun_flash_{csv_type}", [line(DAY, 2, 1500, 15)])
    assert totals(plant, csv_type) == ("shogun_flash", 1, 1, Decimal("1.5"), 15)


def test_a_line_without_a_slip_date_counts_nowhere(plant: Plant, csv_type: str) -> None:
    plant.insert(f"stg.shogun_final_{csv_type}", [{"slip_date": None, "net_weight": 9000, "amount": 90}])
    plant.bring_up_to_date(f"mart.mv_{csv_type}_daily")
    assert not plant.table(f"mart.mv_{csv_type}_daily")["source_system"].notna().any()


def test_today_and_later_days_are_not_shown_whatever_lines_they_have(plant: Plant, csv_type: str) -> None:
    line, yesterday = LINES[csv_type], TODAY - timedelta(days=1)
    days = (yesterday, TODAY, TODAY + timedelta(days=9))
    plant.upload(f"shogun_flash_{csv_type}", [line(day, 1, 5000, 1) for day in days])
    assert totals(plant, csv_type, yesterday) == ("shogun_flash", 1, 1, 5, 1)
    assert plant.table(f"mart.mv_{csv_type}_daily")["ddate"].max() == pd.Timestamp(yesterday)


def expected_days(lines: pd.DataFrame) -> pd.DataFrame:
    """What the view has to hold, given the lines that are active."""
    counted = counted_days(lines, SHOGUN_SOURCES)
    days = pd.DataFrame({"ddate": pd.to_datetime(days_between(FIRST_DAY, TODAY - timedelta(days=1)))})
    table = days.join(counted, on="ddate")
    return pd.DataFrame(
        {
            "ddate": table["ddate"],
            "line_count": table["line_count"].fillna(0),
            "slip_count": table["slip_count"].fillna(0),
            "net_ton": [Decimal(0) if pd.isna(kg) else round_to(kg / 1000, 3) for kg in table["kg"]],
            "amount_yen": [Decimal(0) if pd.isna(yen) else round_to(yen, 0) for yen in table["yen"]],
            "source_system": table["source"],
        }
    )


def test_every_day_of_a_random_history(plant: Plant, csv_type: str) -> None:
    random = Random(csv_type)
    uploads = []
    for start in days_between(date(2025, 11, 1), date(2025, 12, 12))[::10]:
        for source in (*SHOGUN_SOURCES, *SHOGUN_SOURCES):
            lines = pd.DataFrame(
                [
                    (
                        day,
                        random.randint(1, 5),
                        random.choice([None, 0, *(Decimal(random.randint(-999, 90_000)) / 8 for _ in range(6))]),
                        random.choice([None, *(Decimal(random.randint(-9_999, 900_000)) / 8 for _ in range(6))]),
                    )
                    for day in days_between(start - timedelta(days=2), start + timedelta(days=10))
                    if random.random() < 0.4
                    for _ in range(random.randint(1, 5))
                ],
                columns=["ddate", "slip", "kg", "yen"],
                dtype=object,
            )
            plant.upload(
                f"{source}_{csv_type}",
                [
                    LINES[csv_type](*(None if pd.isna(cell) else cell for cell in line))
                    for line in lines.itertuples(index=False)
                ],
            )
            uploads.append(lines.assign(source=source, upload=len(uploads)))
            plant.bring_up_to_date(f"mart.mv_{csv_type}_daily")
    lines = pd.concat(uploads, ignore_index=True)
    lines["ddate"] = pd.to_datetime(lines["ddate"])
    expected = expected_days(active_lines(lines))
    assert set(expected["source_system"].dropna()) == set(SHOGUN_SOURCES)
    assert_same(plant.table(f"mart.mv_{csv_type}_daily"), expected, ["ddate"])


@pytest.fixture(scope="module")
def sampled(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Plant, dict[str, pd.DataFrame]]]:
    """The sample generator's files, in all the forms that real exports have, read here with nothing but csv."""
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        lines: dict[str, list[pd.DataFrame]] = {csv_type: [] for csv_type in SLIP_HEADERS}
        for path in sample.write_files(plant.settings.inbox_dir, date(2025, 12, 14), weeks=3, seed=3):
            source, csv_type = path.parent.name.rsplit("_", 1)
            if csv_type in lines:
                lines[csv_type].append(as_counted(read_lines(path), source, SLIP_HEADERS[csv_type]))
                plant.take(path.parent.name, path)
        plant.bring_up_to_date("mart.mv_shipment_daily", "mart.mv_yard_daily")
        yield plant, {csv_type: pd.concat(files, ignore_index=True) for csv_type, files in lines.items()}


def test_every_day_of_the_sample_files(sampled: tuple[Plant, dict[str, pd.DataFrame]], csv_type: str) -> None:
    plant, lines = sampled
    assert_same(plant.table(f"mart.mv_{csv_type}_daily"), expected_days(lines[csv_type]), ["ddate"])
