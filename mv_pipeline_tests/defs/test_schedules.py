"""The schedules as ticks: the nightly run is begun whatever there is, the overview only for a state not shown yet."""

from datetime import datetime, timedelta

import dagster as dg
import pytest

from mv_pipeline.refresh.views import refresh_view
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.conftest import TODAY
from mv_pipeline_tests.factory import line, take

RECEIVE = "mart.mv_receive_daily"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = datetime(2025, 12, 11, 10, 5, tzinfo=TIME_ZONE)
REFUSED = "postgresql://nobody@127.0.0.1:1/plant"


@pytest.fixture
def schedule(settings, lasting, definitions, monkeypatch):
    """Evaluate a schedule as the daemon does at a tick; whether files are due doesn't depend on the real hour."""
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")

    def tick(name="overview", at=NOW):
        with dg.build_schedule_context(instance=lasting, scheduled_execution_time=at) as context:
            return definitions.get_repository_def().get_schedule_def(name).evaluate_tick(context)

    return tick


@pytest.fixture
def state(schedule):
    """The state that a tick would show."""

    def read():
        (request,) = schedule().run_requests
        return request.tags["mv_pipeline/shown"]

    return read


def receive(connection, catalog, tons):
    connection.execute(
        "INSERT INTO stg.shogun_final_receive (slip_date, net_weight) VALUES ('2025-12-10', %s)", [tons * 1000]
    )
    return refresh_view(connection, catalog.relations[RECEIVE])


def test_nothing_new_is_the_same_state(state, connection, catalog):
    before = state()
    refresh_view(connection, catalog.relations[RECEIVE])

    assert state() == before


def test_a_view_that_changed_is_a_new_state(state, connection, catalog):
    before = state()
    assert receive(connection, catalog, tons=7).inserted == 1

    assert state() != before


def test_a_line_that_no_view_shows_yet_is_no_new_state(state, connection):
    before = state()
    connection.execute("INSERT INTO stg.shogun_final_receive (slip_date, net_weight) VALUES ('2025-12-10', 7000)")

    assert state() == before


@pytest.mark.parametrize("weight", [7, "x"])
def test_a_file_is_a_new_state_even_if_it_is_rejected(state, connection, settings, weight):
    before = state()
    take(connection, settings, [line(net_weight=weight)])

    assert state() != before


def test_a_new_day_is_a_new_state(state, connection):
    before = state()
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET mv_pipeline.business_date = '2025-12-12'")

    assert (before.split()[0], state().split()[0]) == (TODAY, "2025-12-12")


def test_the_hour_at_which_files_are_due_is_a_new_state(state, monkeypatch):
    due = state()
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "24")

    assert state() != due


def test_an_unreachable_database_starts_nothing_and_fails_no_tick(schedule, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", REFUSED)

    data = schedule()

    assert not data.run_requests
    assert data.skip_message.startswith("The database can't be reached: ")


@pytest.fixture
def tick(schedule, lasting, definitions):
    """Run what a tick of the overview asks for; says whether it asked."""
    job = definitions.resolve_job_def("overview")

    def run():
        requests = schedule().run_requests
        for request in requests:
            job.execute_in_process(instance=lasting, tags=request.tags, run_config=QUIET, raise_on_error=False)
        return len(requests)

    return run


def test_a_state_is_shown_once_and_a_new_one_again(tick, connection, catalog):
    first = [tick(), tick()]
    receive(connection, catalog, tons=7)

    assert (first, [tick(), tick()]) == ([1, 0], [1, 0])


def test_a_picture_that_cannot_be_drawn_is_not_tried_every_five_minutes(tick, connection):
    connection.execute("ALTER MATERIALIZED VIEW mart.mv_target_card_per_day RENAME COLUMN day_target_ton TO other")

    assert [tick(), tick()] == [1, 0]


@pytest.fixture
def ended(schedule, lasting, definitions):
    """Leave behind a run for the state that a tick would show, which ends at NOW plus the minutes."""

    def leave(status, minutes=0):
        (request,) = schedule(at=NOW + timedelta(days=3650)).run_requests
        job = definitions.resolve_job_def("overview")
        run = lasting.create_run_for_job(job, tags={**job.run_tags, **request.tags})
        at = (NOW + timedelta(minutes=minutes)).timestamp()
        for number, event in enumerate(STATUS_EVENTS[status]):
            lasting.report_dagster_event(
                dg.DagsterEvent(event_type_value=event.value, job_name="overview"), run.run_id, timestamp=at + number
            )
        return run.run_id

    return leave


STARTED = (dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START)
STATUS_EVENTS = {
    "success": (*STARTED, dg.DagsterEventType.RUN_SUCCESS),
    "failure": (*STARTED, dg.DagsterEventType.RUN_FAILURE),
    "canceled": (*STARTED, dg.DagsterEventType.RUN_CANCELED),
    "started": STARTED,
    "starting": STARTED[:1],
    "not started": (),
}


@pytest.mark.parametrize("status", ["failure", "canceled"])
def test_a_run_that_ended_badly_is_repeated_later_and_later(schedule, ended, status):
    """10, 20, 40 minutes …: not at each tick, and not only when data changes."""
    run = ended(status)
    soon, later = (schedule(at=NOW + timedelta(minutes=minutes)) for minutes in (5, 15))
    again = ended(status, minutes=15)
    soon_again, later_again = (schedule(at=NOW + timedelta(minutes=minutes)) for minutes in (30, 40))

    assert [len(data.run_requests) for data in (soon, later, soon_again, later_again)] == [0, 1, 0, 1]
    assert f"Run {run} ended as {status}; it is repeated after 2025-12-11 10:15 (Asia/Tokyo)" in soon.skip_message
    assert f"Run {again} ended as {status}; it is repeated after 2025-12-11 10:40" in soon_again.skip_message


@pytest.mark.parametrize("status", ["not started", "starting", "started"])
def test_a_run_under_way_is_not_doubled(schedule, ended, status):
    run = ended(status)

    data = schedule(at=NOW + timedelta(days=1))

    assert (data.run_requests, data.skip_message) == ([], f"Run {run} is renewing the pages.")


def test_a_repeated_run_that_succeeds_is_the_last(schedule, ended):
    ended("failure")
    run = ended("success", minutes=20)

    data = schedule(at=NOW + timedelta(days=1))

    assert not data.run_requests
    assert data.skip_message == f"Nothing has changed since the pages were renewed. Run {run} did so."


def test_both_run_by_themselves_in_tokyo(definitions):
    found = {one.name: one for one in definitions.get_repository_def().schedule_defs}

    assert {name: (one.job_name, one.cron_schedule) for name, one in found.items()} == {
        "nightly": ("nightly", "10 0 * * *"),
        "overview": ("overview", "*/5 * * * *"),
    }
    assert {one.execution_timezone for one in found.values()} == {"Asia/Tokyo"}
    assert {one.default_status for one in found.values()} == {dg.DefaultScheduleStatus.RUNNING}


def test_the_nightly_run_is_begun_at_every_tick(schedule):
    first, second = schedule("nightly"), schedule("nightly")

    assert [request.run_key for data in (first, second) for request in data.run_requests] == [None, None]
