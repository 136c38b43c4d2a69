"""Deriving days again from raw."""

from datetime import date

import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.intake.backfill import derive_days, months
from mv_pipeline_tests.factory import csv_text, line, take

KIND = find_kind("shogun_final_receive")
D1, D2, D3 = date(2025, 12, 1), date(2025, 12, 2), date(2025, 12, 3)


@pytest.fixture
def history(settings, connection):
    """Upload 1 holds the 1st and 2nd, upload 2 replaced the 2nd and holds the 3rd."""
    for days in ((D1, D2), (D2, D3)):
        text = csv_text([line(slip_date=day, net_weight=f"{100 * day.day + n}") for day in days for n in (1, 2)])
        assert take(connection, settings, text).status == "loaded"
    return connection


def rows(connection):
    return connection.execute(
        f"SELECT slip_date, net_weight, upload_file_id - min(upload_file_id) OVER () AS upload, source_row_no, "
        f"is_deleted, deleted_by IS NOT NULL FROM stg.{KIND.name} ORDER BY upload_file_id, source_row_no"
    ).fetchall()


def everything(connection):
    return connection.execute(f"SELECT * FROM stg.{KIND.name} ORDER BY id").fetchall()


def derive(connection, first=D1, last=D3):
    with connection.transaction():
        return derive_days(connection, KIND, first, last)


def test_rows_that_are_right_are_left_alone(history):
    before = everything(history)

    done = derive(history)

    assert everything(history) == before
    assert (done.days, done.inserted, done.updated, done.deleted) == ([D1, D2, D3], 0, 0, 0)


def test_missing_rows_come_back_and_changed_ones_are_typed_anew(history):
    before = rows(history)
    history.execute(f"DELETE FROM stg.{KIND.name} WHERE slip_date = '2025-12-01' AND source_row_no = 1")
    history.execute(f"UPDATE stg.{KIND.name} SET net_weight = 7, item_name = NULL WHERE slip_date = '2025-12-03'")

    done = derive(history)

    assert rows(history) == before
    assert (done.inserted, done.updated, done.deleted) == (1, 2, 0)


def test_a_second_time_changes_nothing(history):
    history.execute(f"DELETE FROM stg.{KIND.name}")
    derive(history)
    before = everything(history)

    done = derive(history)

    assert (everything(history), done.inserted, done.updated, done.deleted) == (before, 0, 0, 0)


def test_the_last_upload_of_a_day_wins_and_the_earlier_ones_rows_stay_deleted(history):
    history.execute(f"UPDATE stg.{KIND.name} SET is_deleted = false, deleted_at = NULL, deleted_by = NULL")

    derive(history)

    active = history.execute(
        "SELECT slip_date, count(*), count(DISTINCT upload_file_id) "
        f"FROM stg.v_active_{KIND.name} GROUP BY slip_date ORDER BY slip_date"
    ).fetchall()
    assert active == [(D1, 2, 1), (D2, 2, 1), (D3, 2, 1)]
    assert history.execute(f"SELECT DISTINCT deleted_by FROM stg.{KIND.name} WHERE is_deleted").fetchall() == [
        ("backfill",)
    ]


def test_rows_soft_deleted_by_hand_stay_deleted(history):
    history.execute(f"UPDATE stg.{KIND.name} SET is_deleted = true, deleted_by = 'web' WHERE slip_date = '2025-12-03'")
    before = everything(history)

    derive(history)

    assert everything(history) == before


def test_only_the_range_is_derived(history):
    history.execute(f"UPDATE stg.{KIND.name} SET net_weight = 7")

    done = derive(history, D2, D2)

    assert done.days == [D2]
    assert {row[0] for row in rows(history) if row[1] != 7} == {D2}


def test_a_day_without_raw_rows_stays_as_it_is(history):
    history.execute(f"INSERT INTO stg.{KIND.name} (slip_date, net_weight) VALUES ('2025-12-09', 5)")
    before = everything(history)

    done = derive(history, D1, date(2025, 12, 31))

    assert everything(history) == before
    assert date(2025, 12, 9) not in done.days


def test_uploads_that_failed_or_were_withdrawn_do_not_count(history):
    history.execute("UPDATE log.upload_file SET is_deleted = true WHERE id = (SELECT max(id) FROM log.upload_file)")
    before = everything(history)

    done = derive(history)

    assert done.days == [D1, D2]
    assert everything(history) == before


def test_uploads_of_other_software_count_too(history):
    history.execute("UPDATE log.upload_file SET metadata = NULL")
    history.execute(f"UPDATE stg.{KIND.name} SET net_weight = 7")

    assert derive(history).updated == 6


def test_the_days_derived_are_in_the_change_log(history):
    history.execute("DELETE FROM log.change_note")
    history.execute(f"UPDATE stg.{KIND.name} SET net_weight = 7 WHERE slip_date = '2025-12-03'")
    history.execute("DELETE FROM log.change_note")

    derive(history)

    assert history.execute("SELECT DISTINCT relation, day FROM log.change_note").fetchall() == [
        (f"stg.{KIND.name}", D3)
    ]


def test_a_range_is_split_at_the_ends_of_months():
    assert list(months(date(2024, 1, 31), date(2024, 3, 1))) == [
        (date(2024, 1, 31), date(2024, 1, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 1)),
    ]
    assert list(months(D2, D1)) == []
