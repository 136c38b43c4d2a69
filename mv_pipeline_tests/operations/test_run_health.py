"""Runs that fail: one message for each step or job that nothing else tells of, and its end with the next success."""

import dagster as dg
import pytest

from mv_pipeline.defs.checks import quick_check_keys
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline_tests.factory import csv_text, drop, line
from mv_pipeline_tests.operations.conftest import tells_once

KIND = "shogun_final_receive"
RECEIVE, CARD = "mart.mv_receive_daily", "mart.mv_target_card_per_day"
ROLLUP, SOURCE = "mart.rollup_shogun_final_receive", "mart.v_receive_source"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def key(name):
    return dg.AssetKey(name.split("."))


@pytest.fixture
def run(plant, catalog, definitions):
    """Run a job's steps of these relations and their checks, as sensors and schedules do."""

    def run_job(job, *names):
        keys = [key(name) for name in names]
        subset = definitions.resolve_job_def(job).get_subset(
            asset_selection=set(keys), asset_check_selection=set(quick_check_keys(catalog, keys))
        )
        return subset.execute_in_process(instance=plant.instance, run_config=QUIET, raise_on_error=False)

    return run_job


@pytest.fixture
def check(plant, definitions):
    """Run one check alone."""

    def run_check(name, check_name):
        job = definitions.resolve_job_def("ingest")
        only = job.get_subset(asset_selection=set(), asset_check_selection={dg.AssetCheckKey(key(name), check_name)})
        return only.execute_in_process(instance=plant.instance, run_config=QUIET, raise_on_error=False)

    return run_check


@pytest.fixture
def left_alone(plant, definitions):
    """A run that was begun and whose process has gone without a word."""

    def begin(job, *names, **tags):
        subset = definitions.resolve_job_def(job).get_subset(asset_selection={key(name) for name in names})
        started = plant.instance.create_run_for_job(
            subset,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset(key(name) for name in names),
            tags={**subset.run_tags, **tags},
        )
        plant.instance.report_run_failed(started, "The process of this run is gone; the next run goes on.")

    return begin


@pytest.fixture
def stored(catalog):
    """The table that stores the rollup's rows."""
    return catalog.relations[ROLLUP].stored


def change(connection):
    connection.execute(f"INSERT INTO stg.{KIND} (slip_date, net_weight) VALUES ('2025-12-10', 1000)")


def break_table(connection, name):
    connection.execute(f"ALTER TABLE {name} ADD CONSTRAINT broken CHECK (false) NOT VALID")


def mend_table(connection, name):
    connection.execute(f"ALTER TABLE {name} DROP CONSTRAINT broken")


def test_a_rollup_that_cannot_be_stored(plant, receiver, connection, run, stored):
    change(connection)
    break_table(connection, stored)

    def repair():
        mend_table(connection, stored)
        run("ingest", ROLLUP, SOURCE, RECEIVE)

    message = tells_once(plant, receiver, lambda: run("refresh_changed", ROLLUP, SOURCE, RECEIVE), repair)

    assert (message["type"], message["title"]) == ("warning", f"The check storable of {ROLLUP} failed")
    assert 'violates check constraint "broken"' in message["message"]
    assert "of right numbers, in: 目標カード (target_card), 受入ダッシュボード (inbound)" in message["message"]
    assert connection.execute(f"SELECT receive_net_ton FROM {RECEIVE} WHERE ddate = '2025-12-10'").fetchone() == (1,)


def test_a_file_that_cannot_be_loaded(plant, receiver, connection, settings, run):
    drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(KIND, slip_date="2025/12/10")]))
    break_table(connection, f"stg.{KIND}")

    def repair():
        mend_table(connection, f"stg.{KIND}")
        run("ingest", f"raw.{KIND}", f"stg.{KIND}")

    message = tells_once(plant, receiver, lambda: run("ingest", f"raw.{KIND}", f"stg.{KIND}"), repair)

    assert (message["type"], message["title"]) == ("failure", f"The step intake_{KIND} failed")
    assert "These files could not be taken and stay in the inbox: a.csv" in message["message"]
    assert "目標カード (target_card)" in message["message"]


def test_a_check_that_cannot_be_made(plant, receiver, connection, check):
    def trouble():
        connection.execute("ALTER TABLE log.upload_file RENAME error_message TO elsewhere")
        check(f"raw.{KIND}", "last_upload_accepted")
        connection.execute("ALTER TABLE log.upload_file RENAME elsewhere TO error_message")

    message = tells_once(plant, receiver, trouble, lambda: check(f"raw.{KIND}", "last_upload_accepted"))

    assert (message["type"], message["title"]) == ("failure", f"The step raw__{KIND}__checks failed")
    assert 'column "error_message" does not exist' in message["message"]
    assert "Nobody knows whether what is shown here is right: 目標カード (target_card)" in message["message"]


def test_a_page_that_cannot_be_renewed_only_warns(plant, receiver, connection, run):
    def trouble():
        connection.execute(f"ALTER MATERIALIZED VIEW {CARD} RENAME TO elsewhere")
        run("overview", "overview.view_pages")
        connection.execute(f"ALTER MATERIALIZED VIEW mart.elsewhere RENAME TO {CARD.split('.')[1]}")

    message = tells_once(plant, receiver, trouble, lambda: run("overview", "overview.view_pages"))

    assert (message["type"], message["title"]) == (
        "warning",
        "The step overview__view_pages.page_mart__mv_target_card_per_day failed",
    )
    assert "In the UI this isn't renewed: overview.view_pages; no dashboard is touched" in message["message"]


def test_a_run_whose_process_is_gone(plant, receiver, left_alone, run):
    message = tells_once(
        plant,
        receiver,
        lambda: left_alone("refresh_changed", ROLLUP, RECEIVE),
        # Another part of the same job; it shows that the job runs again.
        lambda: run("refresh_changed", "mart.mv_yard_daily"),
    )

    assert (message["type"], message["title"]) == (
        "failure",
        "A run of the job refresh_changed ended before its work was done",
    )
    assert "The process of this run is gone; the next run goes on." in message["message"]
    assert "目標カード (target_card)" in message["message"]


def test_a_run_that_is_gone_is_made_good_when_others_have_done_its_work(plant, receiver, left_alone, run):
    message = tells_once(
        plant,
        receiver,
        lambda: left_alone("ingest", ROLLUP, RECEIVE),
        lambda: run("refresh_changed", ROLLUP, RECEIVE),
    )

    assert message["title"] == "A run of the job ingest ended before its work was done"


def test_the_runs_of_an_installation_that_shares_dagsters_storage_are_its_own_matter(plant, left_alone):
    left_alone("refresh_changed", ROLLUP, RECEIVE, **{"mv_pipeline/installation": "elsewhere:5432/plant"})

    assert plant.inspect().open == []


def test_the_success_of_another_installation_makes_nothing_good(plant, left_alone, run, definitions):
    left_alone("refresh_changed", ROLLUP, RECEIVE)
    job = definitions.resolve_job_def("refresh_changed")
    tags = {"mv_pipeline/installation": "elsewhere:5432/plant"}
    plant.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)

    update = plant.inspect()

    assert [incident.type for incident in update.open] == ["run_failed"]


def test_a_part_of_its_work_does_not_make_it_good(plant, receiver, left_alone, run):
    left_alone("ingest", ROLLUP, RECEIVE)
    run("refresh_changed", RECEIVE)

    update = plant.inspect()

    assert [incident.title for incident in update.open] == ["A run of the job ingest ended before its work was done"]


def break_view(connection):
    """Let the step of a plain view fail: its definition isn't that of its file."""
    connection.execute("UPDATE log.relation SET definition_hash = '-' || definition_hash WHERE name = %s", [SOURCE])


def mend_view(connection):
    connection.execute(
        "UPDATE log.relation SET definition_hash = ltrim(definition_hash, '-') WHERE name = %s", [SOURCE]
    )


def test_what_fails_in_run_after_run_is_told_once(plant, receiver, connection, run):
    break_view(connection)
    for _ in range(3):
        run("refresh_changed", SOURCE)
        run("ingest", SOURCE)
        plant.inspect()
        plant.wait(minutes=1)

    plant.inspect()

    assert receiver.take() == [("failure", "The step mart__v_receive_source failed")]


def test_a_failure_that_the_next_run_repairs_at_once_is_not_told(plant, receiver, connection, run):
    break_view(connection)
    run("refresh_changed", SOURCE)
    plant.inspect()
    mend_view(connection)
    run("refresh_changed", SOURCE)
    for _ in range(5):
        plant.wait(seconds=30)
        plant.inspect()

    assert receiver.take() == []


# What something else tells already


def test_a_view_that_cannot_be_refreshed_is_told_as_a_view_only(plant, receiver, connection, run, catalog):
    connection.execute(f"REFRESH MATERIALIZED VIEW {RECEIVE} WITH NO DATA")
    connection.execute(f"CREATE INDEX breaks ON {RECEIVE} ((1 / (ddate - ddate)))")
    change(connection)

    def repair():
        connection.execute("DROP INDEX mart.breaks")
        # Not by a run: the step's last word stays that it failed.
        refresh_view(connection, catalog.relations[RECEIVE])

    message = tells_once(plant, receiver, lambda: run("refresh_changed", ROLLUP, RECEIVE), repair)

    assert message["title"] == f"{RECEIVE} (critical) can't be refreshed"


def test_a_view_whose_failure_could_not_be_logged_is_told_as_a_step(plant, receiver, connection, run, retry_at_once):
    """Without a place to log it, the run's own log is the only word of it."""
    connection.execute(f"REFRESH MATERIALIZED VIEW {RECEIVE} WITH NO DATA")
    connection.execute(f"CREATE INDEX breaks ON {RECEIVE} ((1 / (ddate - ddate)))")
    connection.execute("ALTER TABLE log.refresh_failure RENAME TO elsewhere")
    change(connection)
    run("refresh_changed", RECEIVE)
    connection.execute("ALTER TABLE log.elsewhere RENAME TO refresh_failure")

    update = plant.inspect()

    assert [incident.title for incident in update.open] == ["The step mart__mv_receive_daily failed"]


def test_a_rejected_file_is_told_as_a_file_only(plant, receiver, settings, run):
    drop(settings.inbox_dir, KIND, "bad.csv", csv_text([line(KIND, net_weight="x")]))
    run("ingest", f"raw.{KIND}", f"stg.{KIND}")

    update = plant.inspect()

    assert [incident.type for incident in update.open] == ["rejected_file"]


def test_a_failed_check_is_told_as_a_check_only(plant, receiver, connection, run):
    change(connection)
    run("refresh_changed", ROLLUP, RECEIVE)
    connection.execute(f"ALTER TABLE stg.{KIND} DISABLE TRIGGER USER")
    connection.execute(f"UPDATE stg.{KIND} SET net_weight = 9")
    run("refresh_changed", RECEIVE)

    update = plant.inspect()

    assert [incident.title for incident in update.open] == [f"The check mass_balance of {RECEIVE} failed"]


def test_a_step_that_exists_no_more_is_forgotten(plant, receiver):
    """A view that was dropped can't succeed any more."""

    @dg.op
    def mart__mv_gone():
        raise dg.Failure("gone")

    @dg.job(name="refresh_changed")
    def job():
        mart__mv_gone()

    job.execute_in_process(instance=plant.instance, raise_on_error=False, run_config=QUIET)

    assert plant.inspect().open == []
