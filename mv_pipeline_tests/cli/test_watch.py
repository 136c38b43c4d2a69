"""`watch` as a timer runs it: one inspection, and no daemon anywhere."""

import json

import pytest

from mv_pipeline_tests.commands import call_command
from mv_pipeline_tests.conftest import create_database, drop_database
from mv_pipeline_tests.operations.conftest import Receiver

REFUSED = "postgresql://nobody@127.0.0.1:1/plant"


@pytest.fixture(scope="module")
def storage(server):
    url = create_database(server)
    yield url
    drop_database(server, url)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def watch(settings, storage, receiver):
    def run(*arguments, **variables):
        given = {"MV_PIPELINE_DAGSTER_URL": storage, "MV_PIPELINE_ALERT_URLS": receiver.url, **variables}
        return call_command("watch", *arguments, **given)

    return run


def test_without_a_daemon_it_says_so_once_and_exits_1(watch, receiver):
    first, second = watch("--json"), watch()

    assert (first.returncode, second.returncode) == (1, 1), first.stderr
    assert [incident["title"] for incident in json.loads(first.stdout)] == ["The daemon has never run"]
    assert second.stdout == "1 incidents are open: The daemon has never run. 0 messages sent.\n"
    assert receiver.take() == [("warning", "The daemon has never run")]


def test_before_migrate_it_says_so(watch, server):
    url = create_database(server)

    done = watch(MV_PIPELINE_DATABASE_URL=url)

    drop_database(server, url)
    assert (done.returncode, done.stderr) == (
        1,
        "mv-pipeline: The database is empty. Run `mv-pipeline migrate`.\n",
    )


def age(connection, since="2025-12-11T01:02:03+09:00"):
    """Let every open incident have been seen since then, and not for an hour."""
    connection.execute(
        "UPDATE log.incident SET opened_at = %s, first_seen_at = %s, last_seen_at = now() - interval '1 hour'",
        [since, since],
    )


def test_dagsters_storage_unreachable_is_told_if_it_lasts(watch, receiver, connection):
    done = watch(MV_PIPELINE_DAGSTER_URL=REFUSED)
    assert (done.returncode, receiver.take()) == (1, [])

    age(connection)
    watch(MV_PIPELINE_DAGSTER_URL=REFUSED)

    assert receiver.take() == [("failure", "The database of Dagster can't be reached")]


def test_the_database_unreachable_is_told_once_if_it_lasts_and_its_return_too(watch, receiver, settings, connection):
    file = settings.home / "incidents.json"
    old = settings.home / "database-away.json"
    old.write_text("{}", encoding="utf-8")

    done = watch("--json", MV_PIPELINE_DATABASE_URL=REFUSED)
    ((incident,), messages) = json.loads(done.stdout), receiver.take()
    assert (done.returncode, incident["title"], messages) == (1, "The database can't be reached", [])
    assert "refused" in incident["message"]
    assert not old.exists()

    records = json.loads(file.read_text(encoding="utf-8"))
    long_ago = "2025-12-11T01:02:03+09:00"
    file.write_text(json.dumps([{**records[0], "opened_at": long_ago, "first_seen_at": long_ago}]), encoding="utf-8")
    for _ in range(2):
        watch(MV_PIPELINE_DATABASE_URL=REFUSED)
    (message,) = receiver.messages
    assert message["title"] == "The database can't be reached"
    assert "nothing or old rows are shown in: 目標カード (target_card)" in message["message"]

    receiver.messages.clear()
    watch()
    assert [title for _, title in receiver.take()] == ["The daemon has never run"]
    assert not file.exists()
    age(connection)
    for _ in range(2):
        watch()
    assert [title for _, title in receiver.take()] == ["解決 Resolved: The database can't be reached"]


def test_a_file_that_a_killed_process_left_half_written_stops_nothing(watch, settings):
    (settings.home / "incidents.json").write_text('[{"key": "data', encoding="utf-8")

    done = watch("--json", MV_PIPELINE_DATABASE_URL=REFUSED)

    assert [incident["title"] for incident in json.loads(done.stdout)] == ["The database can't be reached"]
