"""Each check on a real database: it passes when all is well, and fails, saying so, when what it guards is broken."""

import re
import statistics
from dataclasses import fields

import dagster as dg
import pytest
import yaml

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog, HeaderCheck, Relation
from mv_pipeline.checks.check import Check
from mv_pipeline.checks.rules import definition_check, leave_one_out, quick_checks
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.checks.conftest import KIND, age_changes, failed
from mv_pipeline_tests.factory import csv_text, drop, line, take

QUERIES = sorted((PROJECT_ROOT / "mv_pipeline" / "checks" / "queries").glob("*.sql"))
TEXTS = ("message", "no_row")
RECEIVE, CARD = "mart.mv_receive_daily", "mart.mv_target_card_per_day"


def test_every_view_passes_when_all_is_well(loaded, evaluate, catalog):
    assert {view.name: failed(evaluate(view.name)) for view in catalog.materialized_views} == {
        view.name: set() for view in catalog.materialized_views
    }


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_says_all_that_its_check_needs_and_nothing_that_nobody_reads(path):
    header = yaml.safe_load(path.read_text(encoding="utf-8").removeprefix("/*").partition("*/")[0])

    assert {"description", "message", "remedy"} <= header.keys() <= {*(field.name for field in fields(Check)), *TEXTS}
    assert header.get("severity") in (None, "WARN")


def replace_view(connection, name, query):
    """Put wrong rows under a view's name, as nothing but a fault could."""
    connection.execute(f"DROP MATERIALIZED VIEW {name} CASCADE")
    connection.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")


COPY = "SELECT * FROM (VALUES {rows}) AS v (ddate, receive_net_ton)"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE ddate < ref.business_date() - 1",
            "row_count",
        ),
        (
            "SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE ddate < ref.business_date() - 1",
            "newest_day",
        ),
        ("SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE ddate <= ref.business_date()", "row_count"),
        (
            "SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day, generate_series(1, 2) "
            "WHERE ddate < ref.business_date()",
            "key_unique",
        ),
        ("SELECT NULL::date AS ddate, 0.0 AS receive_net_ton", "key_unique"),
        ("SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE false", "row_count"),
        (
            "SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE ddate < ref.business_date()",
            "mass_balance",
        ),
        (
            "SELECT ddate, 0.0 AS receive_net_ton FROM ref.calendar_day WHERE ddate < ref.business_date()",
            "concurrent_index",
        ),
    ],
)
def test_wrong_rows_are_found(loaded, evaluate, query, expected):
    replace_view(loaded, RECEIVE, query)

    assert expected in failed(evaluate(RECEIVE))


def test_a_message_says_what_was_found_what_was_expected_and_what_to_do(loaded, evaluate):
    replace_view(loaded, RECEIVE, "SELECT DATE '2025-12-01' AS ddate, 0.0 AS receive_net_ton")

    evaluations = evaluate(RECEIVE)

    assert (
        "1 rows found, 1805 expected: one per calendar day; 2021-01-01: 0; 2021-01-02: 0; 2021-01-03: 0 and 1801 more. "
        f"Run `mv-pipeline refresh {RECEIVE}`; if the check still fails" in evaluations["row_count"].description
    )
    assert evaluations["mass_balance"].metadata["wrong_days"].value == "2025-12-01: 0.0 / 1.000"


def test_a_change_upstream_that_waits_too_long_makes_a_view_out_of_date(loaded, evaluate):
    loaded.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
    age_changes(loaded, minutes=16)

    assert failed(evaluate(CARD)) == {"up_to_date"}
    assert "; mart.daily_target_plan changed." in evaluate(CARD)["up_to_date"].description
    assert failed(evaluate(RECEIVE)) == set()


def test_a_check_of_the_header_fails_with_the_offending_rows(connection, catalog):
    view = catalog.relations["mart.mv_inbound_kpi_daily"]
    header_check = HeaderCheck(
        description="試験 {100 %}",
        sql="SELECT ddate FROM mart.mv_inbound_kpi_daily WHERE ddate::text LIKE '2025-%' AND ddate >= '2025-12-09'; ",
    )
    odd = Relation(view.name, view.header.model_copy(update={"checks": {"odd": header_check}}), view.query)
    with_odd = Catalog({**catalog.relations, odd.name: odd}.values())

    (check,) = [check for check in quick_checks(with_odd, odd.name) if check.name == "odd"]
    result = check.evaluate(connection)

    assert (check.description, result.passed) == ("試験 {100 %}", False)
    assert result.message.startswith("2 offending rows found, 0 expected; (2025-12-09); (2025-12-10).")
    assert "2025-12-10" in result.metadata["offending"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"DELETE FROM raw.{KIND} WHERE source_row_no = 3", {"rows_as_in_file"}),
        (f"DELETE FROM stg.{KIND} WHERE source_row_no = 3", {"rows_as_in_file", "mass_balance"}),
        (f"UPDATE stg.{KIND} SET net_weight = 601 WHERE source_row_no = 1", {"mass_balance"}),
        (f"UPDATE raw.{KIND} SET amount = '1' WHERE source_row_no = 1", {"mass_balance"}),
        (f"INSERT INTO stg.{KIND} (upload_file_id) SELECT max(id) FROM log.upload_file", {"rows_as_in_file"}),
        (f"UPDATE stg.{KIND} SET is_deleted = true", set()),
    ],
)
def test_file_raw_and_stg_hold_the_same_lines_kilograms_and_yen(loaded, evaluate, statement, expected):
    assert failed(evaluate(f"stg.{KIND}")) == set()
    loaded.execute(statement)

    found = failed(evaluate(f"stg.{KIND}"))

    # The factory's lines are 100 yen each, so a raw line more or less shows in the books too.
    assert found == expected | ({"mass_balance"} if "DELETE" in statement else set())


def test_a_change_that_waits_too_long_to_be_stored_warns(loaded, evaluate):
    loaded.execute(f"UPDATE stg.{KIND} SET net_weight = 1")
    assert failed(evaluate("mart.rollup_shogun_final_receive")) == set()
    age_changes(loaded, minutes=16)

    evaluation = evaluate("mart.rollup_shogun_final_receive")["notes_read"]

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.description.startswith("1 changes found waiting (the oldest since: ")


def test_a_rejected_file_warns_until_a_good_one_comes(settings, loaded, evaluate):
    for text, passed in ((csv_text([line(net_weight="x")]), False), (csv_text([line(net_weight="7")]), True)):
        path = drop(settings.inbox_dir, KIND, "b.csv", text)
        take_file(loaded, settings, find_kind(KIND), path, "test")

        evaluation = evaluate(f"raw.{KIND}")["last_upload_accepted"]

        assert (evaluation.passed, evaluation.severity) == (passed, dg.AssetCheckSeverity.WARN)


SHIPMENT = "shogun_flash_shipment"


@pytest.mark.parametrize(
    ("kind", "number"),
    [(KIND, "receive_no"), (SHIPMENT, "shipment_no"), ("shogun_final_yard", "slip_no")],
)
def test_a_slip_that_counts_on_two_days_warns_and_is_named(settings, connection, evaluate, kind, number):
    """A line whose date was corrected between two exports; the earlier day's next file ends it."""

    def drop_slips(name, **slips):
        lines = [line(kind, slip_date=f"2025/12/{day}", **{number: slip}) for slip, day in slips.values()]
        take(connection, settings, lines, kind, name)

    drop_slips("monday.csv", a=(7, "08"), b=(8, "08"), c=(9, "08"), d=(9, "08"))
    assert "slips_on_one_day" not in failed(evaluate(f"stg.{kind}"))
    drop_slips("tuesday.csv", a=(7, "09"), b=(10, "09"))
    drop_slips("wednesday.csv", a=(7, "10"), b=(8, "10"))
    evaluation = evaluate(f"stg.{kind}")["slips_on_one_day"]

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.description.startswith(
        "2 slip numbers found that count on more than one day, 0 expected; "
        "7: 2025-12-08, 2025-12-09, 2025-12-10; 8: 2025-12-08, 2025-12-10. "
    )
    assert f"inbox/{kind}/" in evaluation.description
    drop_slips("monday again.csv", c=(9, "08"))
    drop_slips("tuesday again.csv", b=(10, "09"))
    assert "slips_on_one_day" not in failed(evaluate(f"stg.{kind}"))


def test_a_slip_number_of_another_kind_of_a_deleted_line_or_of_another_year_is_no_second_day(
    settings, connection, evaluate
):
    take(connection, settings, [line(slip_date="2025/12/08")])
    take(connection, settings, [line("shogun_flash_receive", slip_date="2025/12/09")], "shogun_flash_receive")
    connection.execute(
        f"INSERT INTO stg.{KIND} (slip_date, receive_no, is_deleted) VALUES ('2025-12-09', 1, true), "
        "('2024-12-09', 1, false), ('2025-12-10', NULL, false), ('2025-12-11', NULL, false)"
    )

    assert "slips_on_one_day" not in failed(evaluate(f"stg.{KIND}"))


def test_a_line_of_a_day_to_come_warns(settings, connection, evaluate):
    take(connection, settings, [line(slip_date="2025/12/11")])
    assert "no_future_day" not in failed(evaluate(f"stg.{KIND}"))
    upload = take(connection, settings, [line(slip_date="2025/12/12"), line(slip_date="2026/01/11", receive_no=2)] * 2)

    evaluation = evaluate(f"stg.{KIND}")["no_future_day"]

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.description.startswith(
        "4 lines found on days after 2025-12-11, 0 expected; "
        f"2025-12-12: 2 lines, upload {upload.id}; 2026-01-11: 2 lines, upload {upload.id}. "
    )
    (update,) = re.findall("`(UPDATE .*?)`", evaluation.description)
    for day in ("2025-12-12", "2026-01-11"):
        connection.execute(update.replace("the day", day))
    assert "no_future_day" not in failed(evaluate(f"stg.{KIND}"))


PROFILE = "mart.mv_inb_avg5y_day_biz"
# The Wednesdays of ISO week 50; the last of them is yesterday.
WEDNESDAYS = ("2021-12-15", "2022-12-14", "2023-12-13", "2024-12-11", "2025-12-10")
BEFORE = (100, 110, 90, 104)


@pytest.fixture
def wednesdays(connection, catalog):
    """Receive these tons on the Wednesdays of ISO week 50, and bring the views up to date."""

    def receive(*tons):
        for day, value in zip(WEDNESDAYS, tons, strict=False):
            connection.execute(f"INSERT INTO stg.{KIND} (slip_date, net_weight) VALUES (%s, %s)", [day, value * 1000])
        for view in catalog.materialized_views:
            refresh_view(connection, view)

    return receive


@pytest.mark.parametrize(("tons", "passed"), [(103, True), (126, True), (127, False), (75, False), (76, True)])
def test_yesterday_is_held_against_the_same_weekday_of_the_years_before(wednesdays, evaluate, tons, passed):
    wednesdays(*BEFORE, tons)

    evaluation = evaluate(PROFILE)["yesterday_usual"]

    mean, sigma = statistics.mean(BEFORE), statistics.stdev(BEFORE)
    assert (evaluation.passed, evaluation.severity) == (passed, dg.AssetCheckSeverity.WARN)
    assert evaluation.metadata["found"].value == tons
    assert evaluation.metadata["expected"].value == pytest.approx(mean, abs=1e-3)
    assert evaluation.metadata["sigma"].value == pytest.approx(sigma, abs=1e-3)
    assert evaluation.metadata["z"].value == pytest.approx((tons - mean) / sigma, abs=1e-3)
    assert f"2025-12-10: {tons:.1f} tons found, 101.0 ± 8.4 expected from 4 days before" in evaluation.description
    assert ("mv-pipeline calendar" in evaluation.description) is not passed


def test_a_day_for_which_nothing_has_come_is_not_called_unusual(wednesdays, evaluate):
    wednesdays(*BEFORE)

    evaluation = evaluate(PROFILE)["yesterday_usual"]

    assert evaluation.passed
    assert "nothing has come for it yet" in evaluation.description


@pytest.mark.parametrize("closed", [WEDNESDAYS[:3], WEDNESDAYS[:2]])
def test_a_profile_of_too_few_days_stays_silent(connection, wednesdays, evaluate, closed):
    for day in closed:
        connection.execute(
            "INSERT INTO ref.calendar_exception (ddate, override_type) VALUES (%s, 'FORCE_CLOSED')", [day]
        )
    wednesdays(*BEFORE, 900)

    evaluation = evaluate(PROFILE)["yesterday_usual"]

    assert evaluation.passed
    assert "too few to judge 2025-12-10" in evaluation.description


@pytest.mark.parametrize("sample", [(5, 1, 2, 9), (4, 4, 4, 4), (0, 1000, 1001, 1002, 1003)])
def test_a_value_is_taken_out_of_mean_and_deviation(sample):
    value, *others = sample

    found = leave_one_out(value, statistics.mean(sample), statistics.stdev(sample), len(sample))

    assert found == pytest.approx((statistics.mean(others), statistics.stdev(others)))


def test_too_few_values_are_left():
    assert leave_one_out(1, 1, 0, 3) is None


CALENDAR = "overview.upload_calendar"


@pytest.fixture
def filed(connection):
    """Receive something on each day of December 2025 up to the given one."""

    def receive(last):
        connection.execute(
            f"INSERT INTO stg.{KIND} (slip_date, net_weight) SELECT d, 1 "
            f"FROM generate_series(DATE '2025-11-01', DATE '2025-12-{last:02}', '1 day') AS d"
        )

    return receive


@pytest.mark.parametrize(("last", "due_hour", "missing"), [(10, 0, 0), (9, 0, 1), (9, 24, 0), (8, 24, 1), (8, 0, 2)])
def test_a_business_day_without_a_receive_file_warns_once_it_is_due(
    monkeypatch, filed, evaluate, last, due_hour, missing
):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", str(due_hour))
    filed(last)

    evaluation = evaluate(CALENDAR)["receive_files_complete"]

    assert (evaluation.passed, evaluation.severity) == (not missing, dg.AssetCheckSeverity.WARN)
    assert evaluation.metadata["missing"].value == missing
    assert evaluation.description.startswith(f"{missing} of the business days that are due")
    assert ("inbox/shogun_flash_receive" in evaluation.description) is bool(missing)


def test_a_view_that_somebody_changed_by_hand_is_found(connection, catalog):
    name = "mart.v_receive_daily"
    check = definition_check(catalog.relations[name])
    before = check.evaluate(connection)

    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {catalog.relations[name].query} WHERE y < 2023")

    after = check.evaluate(connection)
    assert (before.passed, after.passed) == (True, False)
    assert after.text.startswith(f"Definition drift of {name} (somebody has changed it in the database by hand): ")
    assert after.metadata["found"] == after.metadata["expected"]
    assert (before.metadata["changed_by_hand"], after.metadata["changed_by_hand"]) == (False, True)


def test_no_view_has_definition_drift(connection, catalog):
    assert [
        name for name, view in catalog.relations.items() if not definition_check(view).evaluate(connection).passed
    ] == []
