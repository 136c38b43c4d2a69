"""The sensor `alerts`: a tick inspects and tells. In the real daemon it is test_end_to_end's."""

import dagster as dg
import pytest

from mv_pipeline.intake.inbox import scan
from mv_pipeline.operations.alerts import report
from mv_pipeline.refresh.views import log_failure
from mv_pipeline_tests.factory import line, take


def tick(plant, definitions):
    plant.beat()
    with dg.build_sensor_context(instance=plant.instance, definitions=definitions) as context:
        return definitions.get_repository_def().get_sensor_def("alerts").evaluate_tick(context)


def test_a_tick_tells_and_starts_nothing(plant, receiver, connection, catalog, definitions):
    log_failure(connection, catalog.relations["mart.mv_receive_daily"], "x")

    first, second = tick(plant, definitions), tick(plant, definitions)

    title = "mart.mv_receive_daily (critical) can't be refreshed"
    assert (first.run_requests, second.run_requests) == ([], [])
    assert first.skip_message == f"1 incidents are open: {title}. 1 messages sent."
    assert second.skip_message == f"1 incidents are open: {title}. 0 messages sent."
    assert receiver.take() == [("failure", title)]


def test_a_tick_puts_a_file_back_that_was_written_on_after_it_was_taken(plant, connection, settings, definitions):
    take(connection, settings, [line()])
    (path,) = settings.archive_dir.rglob("a.csv")
    with path.open("ab") as late:
        late.write(b"\r\n")

    tick(plant, definitions)

    assert [file.name for file in scan(settings.inbox_dir).files] == ["a.csv"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP SCHEMA log CASCADE", "The database is empty. Run `mv-pipeline migrate`."),
        ("DROP VIEW log.v_view_news CASCADE", "The database is older than this version. Run `mv-pipeline migrate`."),
    ],
)
def test_a_tick_before_migrate_says_so(plant, connection, definitions, change, said):
    connection.execute(change)

    assert tick(plant, definitions).skip_message == said


def test_a_session_that_is_ended_in_the_middle_of_an_inspection_is_no_outage(plant, receiver, connection, settings):
    with plant.installation() as installation:
        pid = installation.connection.info.backend_pid
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        update = report(installation)

    assert (update.open, receiver.take()) == ([], [])
    assert not (settings.home / "incidents.json").exists()
    assert connection.execute("SELECT count(*) FROM log.incident").fetchone() == (0,)


def test_a_receiver_that_is_unreachable_breaks_no_tick(plant, receiver, connection, catalog, definitions):
    receiver.refuses = True
    log_failure(connection, catalog.relations["mart.mv_receive_daily"], "x")

    assert tick(plant, definitions).skip_message.endswith("0 messages sent. Not reached: 1 json.")
