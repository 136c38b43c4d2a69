"""`doctor` on Dagster: what somebody has switched off, and what to do."""

import re
import time
from datetime import datetime

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._daemon.types import DaemonHeartbeat

from mv_pipeline.cli.doctor import examine
from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.operations.installation import Installation
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.conftest import create_database, drop_database

NOTHING = "No sensor and no schedule is switched off."


@pytest.fixture
def doctor(server, settings, catalog, definitions, monkeypatch):
    """The sentences of a level, on an installation with a storage of Dagster's own."""
    url = create_database(server)
    monkeypatch.setenv("MV_PIPELINE_DAGSTER_URL", url)
    installed = settings.model_copy(update={"dagster_url": url})
    prepare_dagster_home(installed)
    monkeypatch.setenv("DAGSTER_HOME", str(installed.dagster_home))

    def sentences(level):
        now = datetime.now(TIME_ZONE)
        with Installation(installed, catalog, definitions.get_repository_def(), "doctor", now) as installation:
            return [found.sentence for found in examine(installation) if found.level == level]

    yield sentences
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
        "The sensor inbox is switched off. It has never ticked. Switch it on on its page.",
        "The schedule overview is switched off. It has never ticked. Switch it on on its page.",
    }

    switch("inbox", InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    switch("overview", InstigatorType.SCHEDULE, InstigatorStatus.RUNNING)

    assert NOTHING in doctor("ok")
    assert [sentence for sentence in doctor("error") if "switched off" in sentence] == []


def test_a_sensor_that_exists_no_more_is_forgotten(doctor):
    switch("gone", InstigatorType.SENSOR, InstigatorStatus.STOPPED)

    assert NOTHING in doctor("ok")


HEARTBEATS = [(0, "ok"), (12, "ok"), (100, "ok"), (190, "error"), (25 * 60, "error"), (86_400, "error")]


@pytest.mark.parametrize(("age", "level"), HEARTBEATS)
def test_the_daemon_is_alive_for_as_long_as_the_alerts_say_so(doctor, age, level):
    """One threshold for doctor, alerts and Prometheus; the age of the last sign of life is said."""
    beat(age)

    (found,) = [sentence for sentence in doctor(level) if sentence.startswith("The daemon")]

    assert ("is alive" in found) == (level == "ok")
    shown = int(re.search(r"Its last sign of life is ([\d,]+) s old", found)[1].replace(",", ""))
    assert age <= shown < age + 60


def test_a_daemon_that_has_never_run_is_a_warning_as_nobody_has_put_it_into_service(doctor):
    assert [sentence for sentence in doctor("warning") if "never given a sign of life" in sentence]
    assert doctor("error") == []


def test_a_part_that_is_silent_is_told_apart_from_a_daemon_that_is_gone(doctor):
    beat(12, but="SENSOR")

    (found,) = [sentence for sentence in doctor("error") if "of the daemon" in sentence]

    assert found.startswith(
        "Parts of the daemon are gone: SENSOR. It has never given a sign of life. `systemctl restart"
    )


def beat(age, but=""):
    """Let the parts of the daemon, but one, have given their last sign of life so many seconds ago."""
    with dg.DagsterInstance.get() as instance:
        for name in {*instance.get_required_daemon_types()} - {but}:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, name, None, None))
