"""What the pictures show, counted from what was put in; and that each can be drawn."""

import io
import subprocess
import sys
from datetime import date, timedelta

import pytest
from PIL import Image

from mv_pipeline.catalog.sql_folder import CatalogError, load_catalog
from mv_pipeline.defs.pictures import draw_picture, picture_names, receive_tons, target_card, week_profile
from mv_pipeline.refresh.views import refresh_view

TODAY = date(2025, 12, 11)


@pytest.fixture
def received(connection, catalog):
    """Receive tons by source and day, plan others, and bring every view up to date."""

    def receive(tons, plan=()):
        for (source, day), value in tons.items():
            connection.execute(
                f"INSERT INTO stg.{source}_receive (slip_date, net_weight) VALUES (%s, %s)", [day, value * 1000]
            )
        for day, value in dict(plan).items():
            connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES (%s, %s)", [day, value])
        for view in catalog.materialized_views:
            refresh_view(connection, view)

    return receive


def test_the_card_holds_each_days_actual_against_its_own_target(received, connection):
    yesterday, before = TODAY - timedelta(days=1), TODAY - timedelta(days=2)
    received({("shogun_final", yesterday): 7, ("shogun_final", before): 5}, {yesterday: 6, before: 4, TODAY: 99})

    card = target_card.read(connection)

    assert card["ddate"] == [TODAY - timedelta(days=60 - number) for number in range(60)]
    assert (card["actual"][-2:], card["target"][-2:]) == ([5, 7], [4, 6])
    assert sum(card["actual"]) == 12


def test_month_to_date_runs_from_the_first_to_yesterday(received, connection):
    received(
        {("shogun_final", date(2025, 11, 30)): 100, ("shogun_final", date(2025, 12, 2)): 5},
        {date(2025, 12, 1): 1, date(2025, 12, 10): 2},
    )

    month = target_card.month_to_date(target_card.read(connection))

    assert (month["ddate"][0], month["ddate"][-1]) == (date(2025, 12, 1), date(2025, 12, 10))
    assert month["target"] == [1] * 9 + [3]
    assert month["actual"] == [0] + [5] * 9


def test_the_profile_has_a_band_and_this_years_line(received, connection):
    # ISO week 50 has six normal days in each of 2021 to 2024, Monday to Saturday, and three in 2025.
    received({("shogun_final", date(2025, 12, 8)): 30, ("shogun_final", date(2025, 12, 9)): 10})

    profile = week_profile.read(connection)
    week = {name: values[profile["iso_week"].index(50)] for name, values in profile.items()}

    days = [30, 10, 0] + [0] * 24
    mean = sum(days) / len(days)
    sigma = (sum((d - mean) ** 2 for d in days) / (len(days) - 1)) ** 0.5
    assert week["normal"] == pytest.approx(mean, abs=1e-4)
    assert (week["low"], week["high"]) == (0, pytest.approx(mean + sigma, abs=1e-4))
    # The 10th has no file yet, so it isn't part of this year's mean.
    assert week["this_year"] == 20


def test_tons_are_shown_by_the_source_that_counts(received, connection):
    received(
        {
            ("shogun_final", date(2025, 12, 1)): 6,
            ("shogun_flash", date(2025, 12, 1)): 50,
            ("shogun_flash", date(2025, 12, 2)): 2,
            ("shogun_flash", date(2025, 11, 3)): 5,
            ("shogun_final", date(2024, 12, 31)): 1,
        }
    )

    assert receive_tons.read(connection, "day", "59 days") == [
        (date(2025, 11, 3), "shogun_flash", 5, 100),
        (date(2025, 12, 1), "shogun_final", 6, 100),
        (date(2025, 12, 2), "shogun_flash", 2, 100),
    ]
    assert receive_tons.read(connection, "month", "11 months") == [
        (date(2025, 11, 1), "shogun_flash", 5, 100),
        (date(2025, 12, 1), "shogun_final", 6, 75),
        (date(2025, 12, 1), "shogun_flash", 2, 25),
    ]


@pytest.mark.parametrize("name", picture_names())
@pytest.mark.parametrize("tons", [{}, {("shogun_final", date(2025, 12, 1)): 6}])
def test_every_picture_can_be_drawn_and_is_small(received, connection, name, tons):
    received(tons)

    # A letter that the font doesn't have would be a warning, and warnings are errors here.
    png = draw_picture(connection, name)

    picture = Image.open(io.BytesIO(png))
    assert (picture.format, picture.width) == ("PNG", 912)
    assert len(picture.getcolors()) > 8
    assert len(png) < 40_000


def test_a_picture_that_does_not_exist_is_refused(tmp_path):
    path = tmp_path / "mart" / "mv_x.sql"
    path.parent.mkdir()
    path.write_text(
        "/*\ndescription: 試験\ndescription_en: A test.\nowner: team:x\nkey: [a]\ncriticality: optional\n"
        "picture: card\n*/ SELECT 1 AS a",
        encoding="utf-8",
    )

    with pytest.raises(
        CatalogError,
        match=r"There is no picture “card”. Write one of receive_tons, target_card, week_profile",
    ):
        load_catalog(tmp_path, picture_names())


def test_nothing_is_loaded_for_drawing_until_something_is_drawn():
    code = "import sys, mv_pipeline.definitions as d; d.defs(); sys.exit('matplotlib' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
