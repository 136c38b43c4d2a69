"""Each metric against the same number from elsewhere, without a server in between."""

import math
import time
from functools import partial

import alembic.command
import alembic.config
import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.checks import check_keys, quick_check_keys
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.migrate.revise import REVISIONS
from mv_pipeline.operations.metrics import MetricsCollector
from mv_pipeline.refresh.counters import BUCKETS
from mv_pipeline.refresh.views import log_failure, log_refresh, refresh_view
from mv_pipeline_tests.checks.conftest import age_changes
from mv_pipeline_tests.factory import line, roll_up, take
from mv_pipeline_tests.operations.scrape import collect

KIND, FLASH = "shogun_final_receive", "shogun_flash_receive"
RECEIVE, CARD, YARD = "mart.mv_receive_daily", "mart.mv_target_card_per_day", "mart.mv_yard_daily"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ADD_LINE = f"INSERT INTO stg.{KIND} (slip_date, receive_no, net_weight) VALUES (%s, 1, 1000)"


@pytest.fixture
def collector(database, catalog, instance):
    return MetricsCollector(database, catalog, lambda: instance)


def one(connection, query, *params):
    return connection.execute(query, params).fetchone()[0]


# Views


def test_every_view_has_its_criticality(collector, catalog):
    found = collect(collector).by("criticality", "mv_view_info", view=RECEIVE)

    assert found == {catalog.relations[RECEIVE].header.criticality: 1}
    assert len(collect(collector).by("view", "mv_view_info")) == len(catalog.materialized_views)


def test_the_histogram_is_that_of_the_log(collector, connection, catalog):
    for seconds in (0.005, 0.0051, 0.2, 700.0):
        finish_refresh(connection, catalog, YARD, seconds)

    found = collect(collector)

    for view in catalog.materialized_views:
        log = "FROM log.view_refresh WHERE relation = %s"
        total = one(connection, f"SELECT sum(seconds) {log}", view.name)
        assert found.value("mv_refresh_duration_seconds_sum", view=view.name) == pytest.approx(total)
        count = one(connection, f"SELECT count(*) {log}", view.name)
        assert found.value("mv_refresh_duration_seconds_count", view=view.name) == count
        for le in BUCKETS:
            label = "+Inf" if le == float("inf") else str(le)
            expected = one(connection, f"SELECT count(*) {log} AND seconds <= %s", view.name, le)
            assert found.value("mv_refresh_duration_seconds_bucket", view=view.name, le=label) == expected, (view, le)


def finish_refresh(connection, catalog, name, seconds):
    """Log a refresh as if it had taken so long."""
    with connection.transaction():
        snapshot = one(connection, "SELECT pg_current_snapshot()::text")
        log_refresh(connection, catalog.relations[name], "concurrently", seconds, snapshot, None, (0, 0))


def test_totals_outlive_the_log(collector, connection, catalog):
    log_failure(connection, catalog.relations[YARD], "boom")
    refresh_view(connection, catalog.relations[YARD])
    before = collect(collector)
    connection.execute("DELETE FROM log.view_refresh WHERE relation = %s", [YARD])
    connection.execute("DELETE FROM log.refresh_failure")

    finish_refresh(connection, catalog, YARD, 0.3)
    log_failure(connection, catalog.relations[YARD], "boom again")

    after = collect(collector)
    for name, more in (("mv_refresh_duration_seconds_count", 1), ("mv_refresh_failures_total", 1)):
        assert after.value(name, view=YARD) == before.value(name, view=YARD) + more
    assert after.value("mv_refresh_duration_seconds_sum", view=YARD) == pytest.approx(
        before.value("mv_refresh_duration_seconds_sum", view=YARD) + 0.3
    )


def upgrade_to(database, revision):
    """Run the revisions up to one, as the version that had no other did."""
    engine = create_engine("postgresql+psycopg://", creator=partial(database.open, "test"), poolclass=NullPool)
    with engine.begin() as bind:
        config = alembic.config.Config(attributes={"connection": bind})
        config.set_main_option("script_location", str(REVISIONS))
        alembic.command.upgrade(config, revision)


def test_a_database_that_had_a_log_before_it_had_totals_gets_them(empty_database, catalog):
    upgrade_to(empty_database, "0004")
    with empty_database.connect() as connection:
        for seconds in (0.005, 0.0051, 700.0):
            connection.execute(
                "INSERT INTO log.view_refresh (relation, mode, started_at, seconds, row_count, rows_inserted, "
                "rows_deleted, size_bytes, business_date, snapshot) "
                "VALUES ('mart.mv_old', 'plain', now(), %s, 1, 1, 0, 1, '2025-12-11', '1:1:')",
                [seconds],
            )
        connection.execute("INSERT INTO log.refresh_failure (relation, error) VALUES ('mart.mv_old', 'boom')")

        migrate(empty_database, catalog)

        totals = "SELECT name, le, events, total FROM log.counter WHERE relation = 'mart.mv_old' ORDER BY 1, 2"
        assert connection.execute(totals).fetchall() == [
            ("refresh_failures", BUCKETS[0], 1, 0),
            ("refresh_seconds", 0.005, 1, 0.005),
            ("refresh_seconds", 0.01, 1, 0.0051),
            ("refresh_seconds", math.inf, 1, 700),
        ]


def test_rows_bytes_and_times_are_those_of_the_view(collector, connection, catalog):
    connection.execute(ADD_LINE, ["2025-12-01"])
    before = time.time()
    refresh_view(connection, catalog.relations[RECEIVE])
    after = time.time()

    found = collect(collector)

    assert found.value("mv_view_rows", view=RECEIVE) == one(connection, f"SELECT count(*) FROM {RECEIVE}")
    size = one(connection, "SELECT pg_total_relation_size(%s::regclass)", RECEIVE)
    assert found.value("mv_view_size_bytes", view=RECEIVE) == size
    for name in ("mv_last_success_timestamp_seconds", "mv_last_refresh_timestamp_seconds"):
        assert before <= found.value(name, view=RECEIVE) <= after


def test_a_failed_refresh_shows_until_one_succeeds(collector, connection, catalog):
    before = collect(collector).value("mv_last_success_timestamp_seconds", view=RECEIVE)
    log_failure(connection, catalog.relations[RECEIVE], "boom")

    failed = collect(collector)
    assert failed.value("mv_view_failing", view=RECEIVE) == 1
    assert failed.value("mv_view_failing", view=YARD) == 0
    assert failed.value("mv_refresh_failures_total", view=RECEIVE) == 1
    assert failed.value("mv_last_success_timestamp_seconds", view=RECEIVE) == before
    failed_at = one(connection, "SELECT extract(epoch FROM failed_at)::float FROM log.refresh_failure")
    assert failed.value("mv_last_refresh_timestamp_seconds", view=RECEIVE) == failed_at

    refresh_view(connection, catalog.relations[RECEIVE])
    repaired = collect(collector)
    assert repaired.value("mv_view_failing", view=RECEIVE) == 0
    assert repaired.value("mv_refresh_failures_total", view=RECEIVE) == 1


def test_a_running_refresh_shows_its_age(collector, database, catalog):
    assert set(collect(collector).by("view", "mv_refresh_running_seconds").values()) == {0}

    with database.connect(f"refresh {CARD}") as refreshing, refreshing.transaction():
        began = time.time()
        refreshing.execute("SELECT 1")
        time.sleep(0.3)
        assert 0.2 < collect(collector).value("mv_refresh_running_seconds", view=CARD) <= time.time() - began + 1

    assert collect(collector).value("mv_refresh_running_seconds", view=CARD) == 0


def test_a_line_makes_stale_what_lies_downstream_and_waits_in_the_change_log(collector, connection, catalog):
    assert set(collect(collector).by("view", "mv_view_stale").values()) == {0}
    connection.execute(ADD_LINE, ["2025-12-01"])
    connection.execute("UPDATE log.change_note SET noted_at = now() - interval '2 hours'")

    found = collect(collector)

    fresh = {view for view, stale in found.by("view", "mv_view_stale").items() if not stale}
    assert fresh == {"mart.mv_shipment_daily", "mart.mv_yard_daily"}
    waiting = found.by("rollup", "mv_change_notes_waiting")
    rollups = {rollup.name for rollup in catalog.rollups if f"stg.{KIND}" in catalog.upstream(rollup.name)}
    assert f"mart.rollup_{KIND}" in rollups
    assert waiting == {rollup.name: int(rollup.name in rollups) for rollup in catalog.rollups}
    ages = found.by("rollup", "mv_change_notes_oldest_age_seconds")
    assert {name for name, age in ages.items() if age} == rollups
    assert [ages[name] for name in rollups] == pytest.approx([7200] * len(rollups), abs=60)

    roll_up(connection, catalog)

    assert set(collect(collector).by("rollup", "mv_change_notes_waiting").values()) == {0}


def test_a_moved_business_date_shows_as_a_lag(collector, connection):
    name = connection.info.dbname
    connection.execute(f"ALTER DATABASE {name} SET mv_pipeline.business_date = '2025-12-13'")

    found = collect(collector)

    assert set(found.by("view", "mv_view_business_date_lag_days").values()) == {2}
    assert set(found.by("view", "mv_view_stale").values()) == {1}


# Newest days


def test_the_newest_day_is_told_by_source_and_days_to_come_do_not_count(collector, connection, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")
    # 2025-12-11 is a Thursday; the Sunday before is a business day (reservations), the second Sunday is not.
    for day in ("2025-12-04", "2025-12-25"):
        connection.execute(ADD_LINE, [day])
    connection.execute("INSERT INTO stg.shogun_flash_receive (slip_date, receive_no) VALUES ('2025-12-08', 1)")

    found = collect(collector)

    assert found.by("source", "mv_newest_day_age_days", list="receive") == {"shogun_final": 7, "shogun_flash": 3}
    # The 5th to 7th, the 9th and the 10th.
    assert found.by("list", "mv_business_days_behind") == {"receive": 5}
    assert found.by("source", "mv_newest_day_age_days", list="yard") == {}


def test_a_closed_day_is_none_that_is_missing(collector, connection, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")
    connection.execute(ADD_LINE, ["2025-12-09"])
    assert collect(collector).by("list", "mv_business_days_behind") == {"receive": 1}

    connection.execute("INSERT INTO ref.calendar_exception VALUES ('2025-12-10', 'FORCE_CLOSED')")

    assert collect(collector).by("list", "mv_business_days_behind") == {"receive": 0}


# Uploads


def test_uploads_are_counted_by_kind_and_by_what_became_of_them(collector, connection, settings):
    before = time.time()
    lines = [line(slip_date="2025/12/01", receive_no=number) for number in range(7)]
    take(connection, settings, lines)
    take(connection, settings, lines, name="again.csv")
    bad = [line(net_weight="x"), line(net_weight="y", amount="z"), line(slip_date="")]
    take(connection, settings, bad, name="bad.csv")
    take(connection, settings, b"PK\3\4\0", kind=FLASH, name="workbook.csv")

    found = collect(collector)

    assert found.by("status", "mv_uploads_total", kind=KIND) == {"loaded": 1, "duplicate": 1, "rejected": 1}
    assert found.by("status", "mv_uploads_total", kind=FLASH) == {"loaded": 0, "duplicate": 0, "rejected": 1}
    assert found.by("kind", "mv_uploads_total", status="loaded") == {
        **dict.fromkeys((kind.name for kind in KINDS), 0),
        KIND: 1,
    }
    codes = {code: count for code, count in found.by("code", "mv_rejected_cells_total").items() if count}
    assert codes == {"bad_number": 3, "missing_date": 1, "not_csv": 1}
    assert set(found.by("code", "mv_rejected_cells_total")) == MESSAGES.keys()
    newest = found.value("mv_last_upload_timestamp_seconds", kind=KIND, status="rejected")
    assert before - 1 <= newest <= time.time() + 1


def test_the_speed_is_lines_by_the_seconds_that_the_log_names(collector, connection, settings):
    for number, count in enumerate((3, 5)):
        take(connection, settings, [line(receive_no=number)] * count, name=f"{number}.csv")
        connection.execute(
            "UPDATE log.upload_file SET metadata = jsonb_set(metadata, '{seconds}', %s::text::jsonb) WHERE id = %s",
            [0.5 + number, number + 1],
        )
    # Loaded before seconds were kept.
    take(connection, settings, [line(FLASH)], kind=FLASH)
    connection.execute("UPDATE log.upload_file SET metadata = metadata - 'seconds' WHERE file_type = 'FLASH'")

    found = collect(collector)

    assert found.value("mv_intake_lines_total", kind=KIND) == 8
    assert found.value("mv_intake_seconds_total", kind=KIND) == 2
    assert found.by("kind", "mv_intake_lines_per_second") == {KIND: 5 / 1.5}
    assert found.value("mv_intake_lines_total", kind=FLASH) == 0


# Dagster's storage


def test_checks_show_their_newest_result_also_while_a_run_is_about_to_make_another(
    collector, connection, catalog, definitions, instance
):
    rollup = dg.AssetKey(["mart", "rollup_shogun_final_yard"])
    job = definitions.resolve_job_def("refresh_changed")
    job = job.get_subset(asset_selection={rollup}, asset_check_selection=set(quick_check_keys(catalog, [rollup])))
    labels = {"asset": "mart.rollup_shogun_final_yard", "check": "notes_read", "severity": "WARN"}
    assert collect(collector).by("check", "mv_check_passed") == {}
    before = time.time()
    assert job.execute_in_process(instance=instance, run_config=QUIET).success

    good = collect(collector)
    assert good.by("check", "mv_check_passed") == {"notes_read": 1, "storable": 1}
    assert before <= good.value("mv_check_timestamp_seconds", **labels) <= time.time()

    instance.create_run_for_job(job)
    key = dg.AssetCheckKey(rollup, "notes_read")
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert newest.status.value == "PLANNED"
    assert collect(collector).by("check", "mv_check_passed") == {"notes_read": 1, "storable": 1}

    connection.execute("INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')")
    age_changes(connection, minutes=16)
    checks = definitions.resolve_job_def("refresh_changed").get_subset(
        asset_selection=set(), asset_check_selection={key}
    )
    checks.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    assert collect(collector).by("check", "mv_check_passed") == {"notes_read": 0, "storable": 1}


def test_every_check_of_the_graph_is_asked_for(catalog, definitions):
    graph = definitions.resolve_asset_graph()

    assert set(check_keys(catalog)) == set(graph.asset_check_keys)


def test_a_heartbeat_has_an_age_and_one_that_never_was_is_infinitely_old(collector, database, catalog, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, "SENSOR", "me", None))

        found = collect(MetricsCollector(database, catalog, lambda: instance)).by(
            "daemon", "mv_daemon_heartbeat_age_seconds"
        )

        assert set(found) == set(instance.get_required_daemon_types())
    assert found["SENSOR"] == pytest.approx(100, abs=10)
    assert found["SCHEDULER"] == float("inf")


# Unreachable databases


def test_without_the_warehouse_database_dagsters_metrics_go_on(catalog, tmp_path, caplog):
    unreachable = Database("postgresql://u:canary@127.0.0.1:1/plant")  # pragma: allowlist secret
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        found = collect(MetricsCollector(unreachable, catalog, lambda: instance))

    assert found.by("source", "mv_source_up") == {"plant": 0, "dagster": 1}
    assert "mv_daemon_heartbeat_age_seconds" in found.names()
    assert "mv_view_rows" not in found.names()
    assert "canary" not in caplog.text
    assert "plant" in caplog.text


def test_without_dagsters_database_the_warehouse_metrics_go_on(settings, database, catalog, monkeypatch, retry_at_once):
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", "postgresql://127.0.0.1:1/dagster")
    prepare_dagster_home(settings)

    found = collect(MetricsCollector(database, catalog))

    assert found.by("source", "mv_source_up") == {"plant": 1, "dagster": 0}
    assert found.value("mv_view_rows", view=RECEIVE) == 1805
