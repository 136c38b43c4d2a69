"""The jobs as runs on a real database: what they load, mark, refresh, check, and what a failure stops."""

import base64
import os
import uuid
from datetime import date

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.defs.sensors import ingest_request
from mv_pipeline_tests.factory import csv_text, drop, line

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def run(settings, instance, catalog, definitions):
    def run_job(name, files=(), **options):
        job = definitions.resolve_job_def(name)
        if files:
            request = ingest_request(catalog, list(files), "test")
            job = job.get_subset(
                asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
            )
            options["run_config"] = request.run_config
        options["run_config"] = {**options.get("run_config", {}), **QUIET}
        return job.execute_in_process(instance=instance, raise_on_error=False, **options)

    return run_job


@pytest.fixture
def receive(settings):
    def write(name="a.csv", kind="shogun_final_receive", days=("2025/12/01", "2025/12/03"), kg=1000):
        number = find_kind(kind).list.slip_number
        lines = [line(kind, slip_date=day, net_weight=kg, **{number: int(day[-2:])}) for day in days]
        drop(settings.inbox_dir, kind, name, csv_text(lines))
        return kind, name

    return write


def materialized(result):
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


def failed_checks(result):
    return {
        f"{check.asset_key.to_user_string()}:{check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }


def refreshed(result):
    """Whether each materialized view was refreshed, as it says of itself."""
    return {
        event.asset_key.path[-1]: event.materialization.metadata["refreshed"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1].startswith("mv_")
    }


def tons(connection, day):
    row = connection.execute("SELECT receive_net_ton FROM mart.mv_receive_daily WHERE ddate = %s", [day]).fetchone()
    return row[0]


def test_a_file_reaches_every_view_in_one_run_that_marks_exactly_its_days(run, receive, connection, instance):
    result = run("ingest", [receive()])

    assert result.success
    marked = instance.get_materialized_partitions(dg.AssetKey(["stg", "shogun_final_receive"]))
    assert marked == {"2025-12-01", "2025-12-03"}
    assert (tons(connection, "2025-12-01"), tons(connection, "2025-12-02"), tons(connection, "2025-12-03")) == (1, 0, 1)
    assert connection.execute(
        "SELECT day_actual_ton_prev, month_actual_ton FROM mart.mv_target_card_per_day WHERE ddate = '2025-12-04'"
    ).fetchone() == (1, 2)


def test_only_what_lies_downstream_is_materialized(run, receive):
    result = run("ingest", [receive(kind="shogun_final_yard")])

    assert "mart/mv_yard_daily" in materialized(result)
    assert not {name for name in materialized(result) if "receive" in name or "shipment" in name or "inb" in name}


def test_what_readers_wait_for_comes_first_and_then_all_checks_but_the_proofs_pass(run, receive):
    result = run("ingest", [receive()])

    assert failed_checks(result) == set()
    checks = result.get_asset_check_evaluations()
    assert "stg/shogun_final_receive:mass_balance" in {
        f"{check.asset_key.to_user_string()}:{check.check_name}" for check in checks
    }
    assert "full_recompute" not in {check.check_name for check in checks}
    steps = [event.step_key for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_START]
    last_refresh = max(i for i, step in enumerate(steps) if "__mv_" in step and not step.endswith("__checks"))
    first_check = min(i for i, step in enumerate(steps) if step.endswith("__checks"))
    assert last_refresh < steps.index("mart__v_receive_weekly") < first_check
    assert steps.index("ref__v_customer") > last_refresh


def test_a_refresh_reports_rows_seconds_changes_and_bytes_and_a_duplicate_refreshes_nothing(run, receive):
    result = run("ingest", [receive()])
    again = run("ingest", [receive(name="again.csv")])

    assert set(refreshed(again).values()) == {False}
    event = next(e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == "mv_receive_daily")
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["dagster/row_count"], metadata["rows_changed"], metadata["mode"]) == (1805, 2, "concurrently")
    assert metadata["seconds"] > 0
    assert metadata["bytes"] > 0


def test_the_overview_shows_calendar_and_pictures_and_warns(run, receive):
    run("ingest", [receive()])

    result = run("overview")

    assert result.success
    assert materialized(result) == {"overview/upload_calendar", "overview/view_pages"}
    assert failed_checks(result) == {"overview/upload_calendar:receive_files_complete"}
    (shown,) = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == "upload_calendar"
    ]
    first = shown["receive"].records[0].data
    assert (first["day"], first["final_status"]) == ("2025-12-11 Thu", "awaited")
    (loaded,) = [record.data for record in shown["receive"].records if record.data["day"] == "2025-12-03 Wed"]
    assert (loaded["final_lines"], loaded["final_kg"], loaded["flash_status"]) == (1, 1000, "covered")
    pictures = {name: page["picture"].value for name, page in observed(result).items() if "picture" in page}
    assert set(pictures) == {"mart/mv_target_card_per_day", "mart/mv_inb5y_week_profile_min", "mart/mv_receive_daily"}
    head = "![target_card](data:image/png;base64,"
    assert pictures["mart/mv_target_card_per_day"].startswith(head)
    png = base64.b64decode(pictures["mart/mv_target_card_per_day"].removeprefix(head).removesuffix(")"))
    assert png.startswith(b"\x89PNG")


def observed(result):
    """What a run observed, by the asset whose page shows it."""
    return {
        event.asset_key.to_user_string(): event.asset_observation_data.asset_observation.metadata
        for event in result.get_asset_observation_events()
    }


def test_every_view_shows_its_latest_days_on_its_own_page(run, receive, catalog):
    run("ingest", [receive()])

    pages = observed(run("overview"))

    assert set(pages) == {view.name.replace(".", "/") for view in catalog.materialized_views}
    page = pages["mart/mv_receive_daily"]
    assert (page["newest_day"].value, page["newest_day_age"].value) == ("2025-12-10", 1)
    rows = [record.data for record in page["preview"].records]
    assert [row["ddate"] for row in rows] == [f"2025-12-{day:02}" for day in range(10, 0, -1)]
    assert float(rows[7]["receive_net_ton"]) == 1
    # Without days there is no newest one, and the first rows by key are shown for all.
    profile = pages["mart/mv_inb_avg5y_weeksum_biz"]
    assert "newest_day" not in profile
    assert [record.data["iso_week"] for record in profile["preview"].records] == list(range(1, 11))


def test_a_picture_that_cannot_be_drawn_fails_its_step_and_the_others_are_shown(run, receive, catalog, connection):
    run("ingest", [receive()])
    connection.execute("ALTER MATERIALIZED VIEW mart.mv_target_card_per_day RENAME COLUMN day_target_ton TO other")

    result = run("overview")

    (failure,) = result.get_step_failure_events()
    assert failure.step_key.endswith("page_mart__mv_target_card_per_day")
    assert "day_target_ton" in str(failure.event_specific_data)
    others = {view.name.replace(".", "/") for view in catalog.materialized_views} - {"mart/mv_target_card_per_day"}
    assert set(observed(result)) == others
    assert "overview/view_pages" not in materialized(result)


def test_a_rejected_file_warns_and_the_rest_goes_on(run, receive, settings, connection):
    drop(settings.inbox_dir, "shogun_final_receive", "bad.csv", csv_text([line(net_weight="x")]))

    result = run("ingest", [("shogun_final_receive", "bad.csv"), receive(kind="shogun_flash_receive")])

    assert result.success
    assert failed_checks(result) == {"raw/shogun_final_receive:last_upload_accepted"}
    assert tons(connection, "2025-12-01") == 1


def test_a_name_in_the_configuration_never_leads_out_of_the_kinds_folder(run, receive, settings, connection):
    others = [settings.home / "outside.csv", settings.inbox_dir / "shogun_final_yard" / "outside.csv"]
    outside = ["../../outside.csv", "../shogun_final_yard/outside.csv", str(settings.home / "outside.csv")]
    for path in others:
        path.write_text(csv_text([line()]), encoding="cp932", newline="")

    result = run("ingest", [*(("shogun_final_receive", name) for name in outside), receive()])

    assert result.success
    assert connection.execute("SELECT file_name FROM log.upload_file").fetchall() == [("a.csv",)]
    assert all(path.exists() for path in others)


def test_a_file_whose_name_no_log_can_show_is_taken_by_its_printable_name(run, receive, settings, connection):
    receive(name="a\n\udcff.csv")

    assert run("ingest", [("shogun_final_receive", "a��.csv")]).success

    assert connection.execute("SELECT file_name, row_count FROM log.upload_file").fetchall() == [("a��.csv", 2)]


def break_refreshes(connection, view, column):
    """Let every refresh of a view end in a division by zero."""
    connection.execute(f"REFRESH MATERIALIZED VIEW {view} WITH NO DATA")
    connection.execute(f"CREATE INDEX breaks ON {view} ((1 / ({column} - {column})))")


def retried(result):
    return [event.step_key for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]


def test_a_critical_view_that_fails_fails_the_run_at_once_but_neither_siblings_nor_the_upload(run, receive, connection):
    break_refreshes(connection, "mart.mv_inb_avg5y_weeksum_biz", "iso_week")

    result = run("ingest", [receive()])

    failed = {event.step_key for event in result.get_step_failure_events()}
    assert not result.success
    assert failed == {"mart__mv_inb_avg5y_weeksum_biz"}
    assert retried(result) == []
    assert {"mart/mv_inb_avg5y_day_scope", "mart/mv_target_card_per_day", "mart/mv_inbound_kpi_daily"} <= materialized(
        result
    )
    assert connection.execute("SELECT processing_status FROM log.upload_file").fetchall() == [("success",)]


def test_an_optional_view_that_fails_is_reported_and_everything_else_goes_on(run, receive, connection):
    break_refreshes(connection, "mart.mv_inbound_kpi_daily", "ddate")

    result = run("ingest", [receive()])

    assert result.success
    assert "mart/mv_inbound_kpi_daily" not in materialized(result)
    assert "mart/mv_target_card_per_day" in materialized(result)
    assert connection.execute("SELECT relation, error, run_id FROM log.refresh_failure").fetchall() == [
        ("mart.mv_inbound_kpi_daily", "division by zero", result.run_id)
    ]
    skipped = [event for event in result.all_events if event.is_step_skipped]
    assert {event.step_key for event in skipped} == {"mart__mv_inbound_kpi_daily__checks"}
    assert all("mv_inbound_kpi_daily" in event.message for event in skipped)


def test_a_lock_that_is_held_for_a_while_is_waited_out_by_retries(
    run, receive, database, instance, connection, monkeypatch
):
    monkeypatch.setenv("MV_PIPELINE_LOCK_TIMEOUT_SECONDS", "0.1")
    run_id = str(uuid.uuid4())
    with database.open() as other:
        other.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY mart.mv_receive_daily")

        def let_go(entry):
            event = entry.dagster_event
            if event and event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY:
                other.rollback()

        instance.add_event_listener(run_id, let_go)
        result = run("ingest", [receive()], run_id=run_id)

    assert result.success
    assert retried(result) == ["mart__mv_receive_daily"]
    assert tons(connection, "2025-12-01") == 1


def test_materializing_raw_by_hand_takes_whatever_is_at_rest(run, receive, settings, connection):
    for name in ("one.csv", "two.csv"):
        receive(name=name, days=("2025/12/01",), kg=len(name) * 100)

    result = run(
        "ingest",
        asset_selection=[dg.AssetKey(["raw", "shogun_final_receive"]), dg.AssetKey(["stg", "shogun_final_receive"])],
    )

    assert result.success
    assert connection.execute("SELECT file_name FROM log.upload_file ORDER BY id").fetchall() == [
        ("one.csv",),
        ("two.csv",),
    ]


def test_files_are_taken_in_the_order_in_which_they_came(run, receive, settings, connection):
    receive(name="new.csv", days=("2025/12/01",), kg=2000)
    receive(name="old.csv", days=("2025/12/01",), kg=1000)
    os.utime(settings.inbox_dir / "shogun_final_receive" / "old.csv", (1, 1))

    run("ingest")

    assert tons(connection, "2025-12-01") == 2


@pytest.fixture
def derive(instance, definitions):
    """Materialize days of staging from the asset's page, as a backfill does: a single run for a range."""

    def run(first, last):
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["stg", "shogun_final_receive"])],
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            run_config=QUIET,
        )

    return run


def test_a_range_of_days_is_derived_again_from_raw(run, receive, derive, connection, instance):
    run("ingest", [receive()])
    connection.execute("UPDATE stg.shogun_final_receive SET net_weight = 7")

    derive("2025-12-01", "2025-12-03")
    run("refresh_changed")

    assert (tons(connection, "2025-12-01"), tons(connection, "2025-12-03")) == (1, 1)
    marked = instance.get_materialized_partitions(dg.AssetKey(["stg", "shogun_final_receive"]))
    assert marked == {"2025-12-01", "2025-12-02", "2025-12-03"}


def test_the_nightly_run_refreshes_all_proves_views_after_rollups_repairs_and_tidies_up_last(
    run, receive, connection, catalog
):
    """The first one finds untracked changes, the second one nothing."""
    run("ingest", [receive()])
    connection.execute("ALTER TABLE stg.shogun_final_receive DISABLE TRIGGER USER")
    connection.execute("UPDATE stg.shogun_final_receive SET net_weight = 9000 WHERE slip_date = '2025-12-01'")
    connection.execute("ALTER TABLE stg.shogun_final_receive ENABLE TRIGGER USER")

    first, second = run("nightly"), run("nightly")

    assert "mart/rollup_shogun_final_receive:full_recompute" in failed_checks(first)
    assert tons(connection, "2025-12-01") == 9
    assert not {check for check in failed_checks(second) if "full_recompute" in check}
    # Without news too.
    assert refreshed(second) == {view.name.split(".")[1]: True for view in catalog.materialized_views}
    steps = [event.step_key for event in second.all_events if event.event_type == dg.DagsterEventType.STEP_START]
    proofs = [step for step in steps if step.endswith("full_recompute")]
    rollups = [step for step in proofs if "rollup" in step]
    assert len(rollups) == len(catalog.rollups)
    assert len(proofs) == len(catalog.rollups) + len(catalog.materialized_views)
    assert proofs[: len(rollups)] == rollups
    assert steps[-1] == "housekeeping__retention"


def test_the_nightly_run_moves_every_view_to_the_new_day(run, connection, settings):
    with_new_day = connection.info.dbname
    connection.execute(f"ALTER DATABASE {with_new_day} SET mv_pipeline.business_date = '2026-01-01'")

    result = run("nightly")

    assert result.success
    assert failed_checks(result) == set()
    assert connection.execute("SELECT max(ddate) FROM mart.mv_receive_daily").fetchone() == (date(2025, 12, 31),)
    # 2026 began, so the calendar reaches to the end of 2027.
    assert connection.execute("SELECT max(ddate) FROM mart.mv_target_card_per_day").fetchone() == (date(2027, 12, 31),)


def test_a_view_with_definition_drift_is_not_called_materialized(run, connection):
    connection.execute("UPDATE log.relation SET definition_hash = 'other' WHERE name = 'mart.v_receive_daily'")

    result = run("refresh_all")

    (failure,) = result.get_step_failure_events()
    assert failure.step_key == "mart__v_receive_daily"
    assert "Definition drift of mart.v_receive_daily (its file has changed)" in str(failure.event_specific_data)
