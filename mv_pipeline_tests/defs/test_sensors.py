"""The sensors as a tick matrix: what lies there, what was seen before, what runs, and what the tick does."""

import json
import os
import shutil
import time

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.definitions import defs
from mv_pipeline.defs.jobs import intake_keys
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.factory import csv_text, drop, line

KIND = "shogun_final_receive"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Ticks:
    """Evaluates the sensor as the daemon does, handing the cursor on from tick to tick."""

    def __init__(self, definitions, instance, name="inbox"):
        self.definitions, self.instance, self.cursor, self.name = definitions, instance, None, name

    def tick(self):
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, definitions=self.definitions)
        with context:
            data = self.definitions.get_repository_def().get_sensor_def(self.name).evaluate_tick(context)
        self.cursor = data.cursor
        return data

    def take(self):
        """Run the step of a tick's request that takes the files of KIND."""
        (request,) = self.tick().run_requests
        self.run(dg.RunRequest(run_config=request.run_config, asset_selection=intake_keys(find_kind(KIND))))

    def run(self, request, job_name="ingest"):
        job = self.definitions.resolve_job_def(job_name).get_subset(
            asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys or ())
        )
        return job.execute_in_process(
            instance=self.instance, run_config={**request.run_config, **QUIET}, raise_on_error=False
        )


@pytest.fixture
def ticks(settings, instance, definitions, monkeypatch):
    # Far off, so that only two equal scans make a file rest, unless a test says otherwise; and one scan a tick.
    monkeypatch.setenv("MV_PIPELINE_SETTLE_SECONDS", "3600")
    monkeypatch.setenv("MV_PIPELINE_WATCH_SECONDS", "0")
    monkeypatch.setattr("mv_pipeline.defs.sensors._REST_S", 0.0)
    return Ticks(definitions, instance)


@pytest.fixture
def put(settings):
    def write(name="a.csv", kind=KIND, day="2025/12/01", text=None):
        return drop(settings.inbox_dir, kind, name, text or csv_text([line(kind, slip_date=day)]))

    return write


def files_of(data):
    (request,) = data.run_requests
    return {step: op["config"]["files"] for step, op in request.run_config["ops"].items()}


def test_nothing_there(ticks):
    data = ticks.tick()

    assert not data.run_requests
    assert "No CSV file in" in data.skip_message


def test_a_file_seen_for_the_first_time_waits_for_a_second_scan(ticks, put):
    put()

    assert "1 CSV files in" in ticks.tick().skip_message
    assert files_of(ticks.tick()) == {f"intake_{KIND}": ["a.csv"]}


def test_the_cursor_of_an_earlier_version_is_begun_anew(ticks, put):
    put()
    ticks.cursor = json.dumps({"seen": {f"{KIND}/a.csv": ["1-1", 0.0]}, "tries": {f"{KIND}/a.csv": ["1-1", 9, 1e12]}})

    assert "1 CSV files in" in ticks.tick().skip_message
    assert ticks.tick().run_requests


def test_a_file_that_still_grows_waits(ticks, put):
    put()
    ticks.tick()
    put(text=csv_text([line(), line()]))

    assert not ticks.tick().run_requests
    assert ticks.tick().run_requests


def test_a_file_that_is_touched_waits(ticks, put):
    path = put()
    ticks.tick()
    os.utime(path)

    assert not ticks.tick().run_requests


def test_a_tick_watches_until_all_files_have_come_to_rest(ticks, put, monkeypatch):
    """Time runs by the scans: at the third one a second file has come, and both rest a second later."""
    now = 1000.0
    scans = iter(range(1000))

    def pause(seconds):
        nonlocal now
        now += seconds
        if next(scans) == 2:
            put(name="b.csv")

    monkeypatch.setenv("MV_PIPELINE_WATCH_SECONDS", "4")
    monkeypatch.setattr("mv_pipeline.defs.sensors._REST_S", 1.0)
    monkeypatch.setattr("mv_pipeline.defs.sensors.time.time", lambda: now)
    monkeypatch.setattr("mv_pipeline.defs.sensors.time.monotonic", lambda: now)
    monkeypatch.setattr("mv_pipeline.defs.sensors.time.sleep", pause)
    put()

    data = ticks.tick()

    assert files_of(data) == {f"intake_{KIND}": ["a.csv", "b.csv"]}
    assert now == 1000 + 0.75 + 1


def test_an_old_file_rests_at_the_first_scan(ticks, put, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_SETTLE_SECONDS", "60")
    os.utime(put(), (1, 1))

    assert ticks.tick().run_requests


@pytest.mark.parametrize("name", ["a.csv.part", "a.tmp", ".a.csv", "a.csv.TMP"])
def test_half_written_names_never_count(ticks, put, name):
    put(name=name)
    ticks.tick()

    assert "No CSV file" in ticks.tick().skip_message


def test_an_empty_file_starts_no_run_before_it_has_been_so_for_minutes(ticks, put, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_SETTLE_SECONDS", "0")
    path = put()
    path.write_bytes(b"")
    for _ in range(3):
        assert not ticks.tick().run_requests

    os.utime(path, (1, 1))

    assert ticks.tick().run_requests


def test_a_file_that_a_run_has_taken_since_the_scan_starts_no_other(ticks, put, monkeypatch):
    """The run ends between the scan and the look at the runs."""
    from mv_pipeline.defs import sensors

    def ended(*args):
        path.unlink()

    path = put()
    ticks.tick()
    monkeypatch.setattr(sensors, "_run_under_way", ended)

    assert not ticks.tick().run_requests


def test_a_burst_of_all_kinds_is_one_run(ticks, put):
    for kind in ("shogun_flash_receive", KIND, "shogun_final_yard"):
        for name in ("1.csv", "2.csv"):
            put(name=name, kind=kind)
    ticks.tick()

    assert files_of(ticks.tick()) == {
        "intake_shogun_flash_receive": ["1.csv", "2.csv"],
        f"intake_{KIND}": ["1.csv", "2.csv"],
        "intake_shogun_final_yard": ["1.csv", "2.csv"],
    }


def test_the_run_holds_only_what_lies_downstream_of_its_kinds(ticks, put):
    put(kind="shogun_final_yard")
    ticks.tick()

    (request,) = ticks.tick().run_requests
    names = {key.to_user_string() for key in request.asset_selection}
    assert names == {
        "raw/shogun_final_yard",
        "stg/shogun_final_yard",
        "stg/v_active_shogun_final_yard",
        "mart/rollup_shogun_final_yard",
        "mart/v_source_days",
        "mart/v_yard_source",
        "mart/mv_yard_daily",
    }


def test_while_a_run_is_under_way_new_files_wait(ticks, put, instance):
    put()
    ticks.tick()
    job = ticks.definitions.resolve_job_def("ingest")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.run_tags)

    assert f"Run {run.run_id} is under way" in ticks.tick().skip_message


def test_a_run_that_was_taken_leaves_nothing_to_do(ticks, put):
    put()
    ticks.tick()
    ticks.take()

    assert "No CSV file" in ticks.tick().skip_message


def test_a_file_that_a_run_left_behind_is_tried_again_later_and_later(ticks, put, monkeypatch):
    put()
    ticks.tick()
    start = time.time()
    monkeypatch.setattr("mv_pipeline.defs.sensors.time.time", lambda: start)
    assert ticks.tick().run_requests
    waits = []
    for _ in range(8):
        assert "1 wait for another try" in ticks.tick().skip_message
        start = time.time()
        step = 0
        while not ticks.tick().run_requests:
            step += 1
            monkeypatch.setattr("mv_pipeline.defs.sensors.time.time", lambda now=start + step * 5: now)
        waits.append(step * 5)

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (10, 600)


def test_a_rejected_file_corrected_under_the_same_name_is_taken_at_once(ticks, put, connection):
    put(text=csv_text([line(net_weight="x")]))
    ticks.tick()
    ticks.take()
    put()
    ticks.tick()
    ticks.take()

    assert connection.execute("SELECT processing_status FROM log.upload_file ORDER BY id").fetchall() == [
        ("failed",),
        ("success",),
    ]


def test_the_same_file_dropped_again_is_logged_as_a_duplicate_and_archived(ticks, put, connection, settings):
    for _ in range(2):
        put()
        ticks.tick()
        ticks.take()

    rows = connection.execute(
        "SELECT metadata->>'duplicate_of' IS NOT NULL FROM log.upload_file ORDER BY id"
    ).fetchall()
    assert rows == [(False,), (True,)]
    assert len(list(settings.archive_dir.rglob("*.csv"))) == 2


def test_what_is_no_csv_file_of_a_kind_starts_no_run(ticks, settings):
    (settings.inbox_dir / "receive").mkdir()
    (settings.inbox_dir / KIND / "list.xlsx").write_bytes(b"PK")
    (settings.inbox_dir / KIND / "link.csv").symlink_to("/etc/hosts")
    (settings.inbox_dir / KIND / "folder.csv").mkdir()
    os.mkfifo(settings.inbox_dir / KIND / "pipe.csv")

    assert "No CSV file" in ticks.tick().skip_message
    assert "No CSV file" in ticks.tick().skip_message


def test_a_missing_inbox_is_said_and_not_raised(ticks, settings):
    settings.inbox_dir.rename(settings.home / "elsewhere")

    assert f"{settings.inbox_dir} can't be read" in ticks.tick().skip_message


def test_a_big_file_is_not_opened(ticks, put, monkeypatch):
    with put().open("ab") as file:
        file.truncate(5_000_000_000)
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("os.open", None)

    ticks.tick()
    assert ticks.tick().run_requests


def test_an_unreachable_database_does_not_disturb_the_tick(ticks, put, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    put()
    ticks.tick()

    assert ticks.tick().run_requests


class TestRemoved:
    """A view, or a check, is removed while the code server knows it still; a run reads the files anew."""

    VIEW, CHECKED = "mart.mv_yard_daily", "mart.mv_shipment_daily"

    @pytest.fixture
    def sql_dir(self, settings, tmp_path, monkeypatch):
        folder = shutil.copytree(PROJECT_ROOT / "sql", tmp_path / "sql")
        monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))
        return folder

    @pytest.fixture
    def older(self, sql_dir, instance):
        """The code location as it was read before something was removed."""
        older = defs()
        (sql_dir / "mart/mv_yard_daily.sql").unlink()
        for name, removed in (
            ("dashboards.yaml", ", mart.mv_yard_daily"),
            ("mart/mv_shipment_daily.sql", "balance: {csv_type: shipment, tons: net_ton}"),
        ):
            text = (sql_dir / name).read_text(encoding="utf-8")
            assert removed in text
            (sql_dir / name).write_text(text.replace(removed, ""), encoding="utf-8")
        return older, defs()

    def run(self, newer, instance, job_name, request, **more):
        """As a worker does: the request is the older location's, the definitions are the newer's."""
        job = newer.resolve_job_def(job_name).get_subset(
            asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
        )
        return job.execute_in_process(instance=instance, run_config={**request.run_config, **QUIET}, **more)

    def test_the_inbox_sensor_drops_it(self, older, put, instance, connection):
        older, newer = older
        put(kind="shogun_final_yard")
        put(kind="shogun_final_shipment")
        (request,) = Ticks(older, instance).tick().run_requests

        assert dg.AssetKey(self.VIEW.split(".")) not in request.asset_selection
        checks = {key.name for key in request.asset_check_keys if key.asset_key.path == self.CHECKED.split(".")}
        assert "mass_balance" not in checks
        assert "up_to_date" in checks
        assert self.run(newer, instance, "ingest", request).success
        assert connection.execute("SELECT count(*) FROM stg.shogun_final_yard").fetchone() == (1,)

    def test_the_changes_sensor_drops_it(self, older, instance, connection, monkeypatch):
        monkeypatch.setattr("mv_pipeline.defs.sensors._QUIET_S", 0.0)
        older, newer = older
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5000)")
        (request,) = Ticks(older, instance, "changes").tick().run_requests

        assert dg.AssetKey(["mart", "rollup_shogun_final_yard"]) in request.asset_selection
        assert dg.AssetKey(self.VIEW.split(".")) not in request.asset_selection
        assert self.run(newer, instance, "refresh_changed", request).success

    @pytest.mark.parametrize("job", ["nightly", "refresh_all", "refresh_changed", "ingest", "overview"])
    def test_no_job_brings_a_configuration_that_names_it(self, older, job):
        older, newer = older

        config = older.resolve_job_def(job).run_config or {}

        assert dg.validate_run_config(newer.resolve_job_def(job), dict(config)) is not None


class TestChanges:
    """The sensor on what changes in the database without us."""

    @pytest.fixture
    def changes(self, settings, instance, definitions):
        return Ticks(definitions, instance, "changes")

    @pytest.fixture
    def later(self, monkeypatch):
        """Let the time that a burst is waited out be over."""
        monkeypatch.setattr("mv_pipeline.defs.sensors._QUIET_S", 0.0)

    def tons(self, connection):
        (tons,) = connection.execute("SELECT net_ton FROM mart.mv_yard_daily WHERE ddate = '2025-12-01'").fetchone()
        return tons

    def test_a_fresh_database_needs_nothing(self, changes):
        assert changes.tick().skip_message == "Every view is fresh."

    def test_changes_that_every_view_has_seen_are_pruned_when_all_are_fresh(self, changes, later, connection):
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5000)")
        (request,) = changes.tick().run_requests
        changes.run(request, "refresh_changed")
        assert connection.execute("SELECT count(*) FROM log.change_note").fetchone() != (0,)

        assert changes.tick().skip_message == "Every view is fresh."
        assert connection.execute("SELECT count(*) FROM log.change_note").fetchone() == (0,)

    def test_a_rollup_that_only_plain_views_read_is_brought_up_to_date_too(self, changes, later, connection, catalog):
        sales = catalog.relations["mart.rollup_customer_sales"]
        assert not {view.name for view in catalog.materialized_views} & {*catalog.downstream(sales.name)}
        connection.execute("INSERT INTO stg.shogun_final_receive (slip_date, category_cd) VALUES ('2025-12-01', 1)")

        changes.run(changes.tick().run_requests[0], "refresh_changed")

        assert connection.execute("SELECT * FROM log.v_rollup_news").fetchall() == []
        assert connection.execute(f"SELECT count(*) FROM {sales.stored}").fetchone() == (1,)
        assert changes.tick().skip_message == "Every view is fresh."
        assert connection.execute("SELECT count(*) FROM log.change_note").fetchone() == (0,)

    def test_hand_made_sql_leads_to_one_refresh_of_what_is_downstream(self, changes, later, connection):
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5000)")

        (request,) = changes.tick().run_requests
        names = {key.to_user_string() for key in request.asset_selection}
        assert "mart/mv_yard_daily" in names
        assert not {name for name in names if "receive" in name}
        changes.run(request, "refresh_changed")

        assert changes.tick().skip_message == "Every view is fresh."
        assert connection.execute("SELECT net_ton FROM mart.mv_yard_daily WHERE ddate = '2025-12-01'").fetchone() == (
            5,
        )

    def test_a_soft_deletion_by_the_web_application_counts(self, changes, later, connection):
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date, net_weight) VALUES ('2025-12-01', 5000)")
        changes.run(changes.tick().run_requests[0], "refresh_changed")
        connection.execute("UPDATE stg.shogun_final_yard SET is_deleted = true")

        changes.run(changes.tick().run_requests[0], "refresh_changed")

        assert connection.execute("SELECT net_ton FROM mart.mv_yard_daily WHERE ddate = '2025-12-01'").fetchone() == (
            0,
        )

    def test_a_changed_plan_counts(self, changes, later, connection):
        connection.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")

        (request,) = changes.tick().run_requests
        names = {key.to_user_string() for key in request.asset_selection}
        assert {"mart/mv_target_card_per_day", "mart/mv_inbound_kpi_daily"} <= names

    def test_a_new_day_counts(self, changes, connection):
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET mv_pipeline.business_date = '2025-12-12'")

        assert changes.tick().run_requests

    def test_a_burst_is_waited_out_but_not_for_ever(self, changes, connection, monkeypatch):
        monkeypatch.setattr("mv_pipeline.defs.sensors._QUIET_S", 3600.0)
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')")
        assert changes.tick().skip_message == "Changes are still coming in."

        connection.execute("UPDATE log.change_note SET noted_at = noted_at - interval '1 minute'")
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')")
        assert changes.tick().run_requests

    @pytest.mark.parametrize("job", ["ingest", "refresh_all", "refresh_changed", "nightly"])
    def test_a_run_that_is_under_way_is_never_doubled(self, changes, later, connection, instance, job):
        connection.execute("INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')")
        job = changes.definitions.resolve_job_def(job)
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.run_tags)

        assert f"Run {run.run_id} is under way" in changes.tick().skip_message

    def test_views_that_stay_stale_are_tried_again_later_and_new_changes_at_once(self, changes, later, connection):
        insert = "INSERT INTO stg.shogun_final_yard (slip_date) VALUES ('2025-12-01')"
        connection.execute(insert)
        assert changes.tick().run_requests

        assert "stay stale after a run" in changes.tick().skip_message
        connection.execute(insert)
        assert changes.tick().run_requests

    def test_an_unreachable_database_is_said_and_not_raised(self, changes, monkeypatch):
        # pragma: allowlist nextline secret
        monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", "postgresql://u:canary@127.0.0.1:1/plant")

        message = changes.tick().skip_message

        assert message.startswith("The database can't be reached")
        assert "canary" not in message
