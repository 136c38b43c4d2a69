"""The sensor `alerts`: a tick inspects and tells, in the tests' own process and in the real daemon."""

import dagster as dg

from mv_pipeline.definitions import defs
from mv_pipeline.refresh.views import log_failure
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.operations.conftest import Receiver
from mv_pipeline_tests.processes import running_dev, wait_for

KIND = "shogun_final_receive"


def tick(plant):
    plant.beat()
    definitions = defs()
    with dg.build_sensor_context(instance=plant.instance, definitions=definitions) as context:
        return definitions.get_repository_def().get_sensor_def("alerts").evaluate_tick(context)


def test_a_tick_tells_and_starts_nothing(plant, receiver, connection, catalog):
    log_failure(connection, catalog.relations["mart.mv_receive_daily"], "x")

    first, second = tick(plant), tick(plant)

    title = "mart.mv_receive_daily (critical) can't be refreshed"
    assert (first.run_requests, second.run_requests) == ([], [])
    assert first.skip_message == f"1 incidents are open: {title}. 1 messages sent."
    assert second.skip_message == f"1 incidents are open: {title}. 0 messages sent."
    assert receiver.take() == [("failure", title)]


def test_a_tick_before_migrate_says_so(plant, connection):
    connection.execute("DROP TABLE log.incident")

    assert tick(plant).skip_message == "There is no table for incidents yet. Run `mv-pipeline migrate`."


def test_a_receiver_that_is_unreachable_breaks_no_tick(plant, receiver, connection, catalog):
    receiver.refuses = True
    log_failure(connection, catalog.relations["mart.mv_receive_daily"], "x")

    assert tick(plant).skip_message.endswith("0 messages sent. Not reached: 1 json.")


def test_the_real_daemon_tells_the_office_of_a_rejected_file(home):
    settings, log = home
    receiver = Receiver()
    try:
        with running_dev(settings, log, MV_PIPELINE_ALERT_URLS=receiver.url):
            hidden = settings.inbox_dir / KIND / ".bad.csv"
            hidden.write_text(csv_text([line(KIND, net_weight="x")]), encoding="cp932", newline="")
            hidden.rename(hidden.with_name("bad.csv"))

            message = wait_for("the office is told", lambda: receiver.messages[:1])[0]
    finally:
        receiver.close()

    assert message["title"].startswith("受入最終のファイル「bad.csv」を取り込めませんでした")
    assert str(settings.rejected_dir / KIND / "bad.csv.errors.csv") in message["message"]
    assert len(receiver.messages) == 1
