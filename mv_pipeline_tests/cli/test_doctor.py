"""`doctor` on Dagster: what somebody has switched off, and what to do."""

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData

from mv_pipeline.cli.doctor import examine
from mv_pipeline.database.dagster_storage import prepare_dagster_home
from mv_pipeline_tests.conftest import create_database, drop_database

NOTHING = "No sensor and no schedule is switched off."


@pytest.fixture
def doctor(server, settings, catalog, monkeypatch):
    """The sentences of a level, on an installation with a storage of Dagster's own."""
    url = create_database(server)
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", url)
    installed = settings.model_copy(update={"dagster_url": url})
    prepare_dagster_home(installed)
    monkeypatch.setenv("DAGSTER_HOME", str(installed.dagster_home))
    yield lambda level: [found.sentence for found in examine(installed, catalog) if found.level == level]
    drop_database(server, url)


def switch(name, kind, status):
    """Switch a sensor or schedule on or off, as its page does."""
    location = RegisteredCodeLocationOrigin("mv_pipeline")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    with dg.DagsterInstance.get() as instance:
        known = instance.get_instigator_state(origin.get_id(), origin.get_selector().get_id())
        if known:
            instance.update_instigator_state(known.with_status(status))
        else:
            data = ScheduleInstigatorData("*/5 * * * *") if kind is InstigatorType.SCHEDULE else None
            instance.add_instigator_state(InstigatorState(origin, kind, status, data))


def test_what_is_switched_off_is_named_with_what_to_do_until_it_is_on(doctor):
    assert NOTHING in doctor("ok")

    switch("inbox", InstigatorType.SENSOR, InstigatorStatus.STOPPED)
    switch("overview", InstigatorType.SCHEDULE, InstigatorStatus.STOPPED)
    switch("changes", InstigatorType.SENSOR, InstigatorStatus.RUNNING)

    assert {sentence for sentence in doctor("error") if "switched off" in sentence} == {
        "The sensor inbox is switched off, so this isn't done: Starts one run for all CSV files that have come to rest "
        "in the inbox. Switch it on in the UI, under Automation.",
        "The schedule overview is switched off, so this isn't done: Renews upload calendar, previews and pictures "
        "after a change, and when yesterday's files are due. Switch it on in the UI, under Automation.",
    }

    switch("inbox", InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    switch("overview", InstigatorType.SCHEDULE, InstigatorStatus.RUNNING)

    assert NOTHING in doctor("ok")
    assert [sentence for sentence in doctor("error") if "switched off" in sentence] == []


def test_a_sensor_that_exists_no_more_is_forgotten(doctor):
    switch("gone", InstigatorType.SENSOR, InstigatorStatus.STOPPED)

    assert NOTHING in doctor("ok")
