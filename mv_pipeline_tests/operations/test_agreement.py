"""One list of health checks: of whatever is wrong, doctor, the alerts and the metrics name the same."""

import re
from collections import Counter
from datetime import datetime

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from mv_pipeline.cli.doctor import examine
from mv_pipeline.defs.assets.describe import RETENTION, RETENTION_CHECK
from mv_pipeline.operations.health import HEALTH_CHECKS, inspect
from mv_pipeline.operations.metrics import MetricsCollector
from mv_pipeline.operations.problem import TEXTS, ProblemType
from mv_pipeline.operations.taken_files import put_back_changed_files
from mv_pipeline.refresh.views import log_failure, refresh_view
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.factory import csv_text, drop, line, take
from mv_pipeline_tests.operations.scrape import collect
from mv_pipeline_tests.operations.test_health import CRITICAL, KIND, YARD, evaluate


def low_disk(plant, monkeypatch, settings):
    monkeypatch.setattr("mv_pipeline.operations.installation.Installation.free_gb", 0.9)


def inbox_unreadable(plant, monkeypatch, settings):
    settings.inbox_dir.rename(settings.home / "elsewhere")


def file_left_alone(plant, monkeypatch, settings):
    (settings.inbox_dir / KIND / "list.xlsx").touch()


def server_unsupported(plant, monkeypatch, settings):
    monkeypatch.setattr("mv_pipeline.migrate.server._OLDEST", 99)


def definition_drift(plant, monkeypatch, settings):
    plant.connection.execute("UPDATE log.relation SET definition_hash = 'x' WHERE name = %s", [CRITICAL])


def rejected_file(plant, monkeypatch, settings):
    take(plant.connection, settings, [line(KIND, net_weight="x")], name="bad.csv")


def day_shrunk(plant, monkeypatch, settings):
    for lines in (3, 1):
        take(plant.connection, settings, [line(YARD, slip_date="2025/12/11")] * lines, YARD)
    for view in plant.catalog.materialized_views:
        refresh_view(plant.connection, view)


def file_changed(plant, monkeypatch, settings):
    for lines in ([line(KIND, slip_date="2025/12/10")], [line(KIND, slip_date="2025/12/10")] * 2):
        for path in settings.archive_dir.rglob("a.csv"):
            path.write_text(csv_text(lines), encoding="cp932", newline="")
        put_back_changed_files(plant.connection, settings)
        take(plant.connection, settings, lines)
    for view in plant.catalog.materialized_views:
        refresh_view(plant.connection, view)


def view_failed(plant, monkeypatch, settings):
    log_failure(plant.connection, plant.catalog.relations[CRITICAL], "x")


def data_missing(plant, monkeypatch, settings):
    take(plant.connection, settings, [line(KIND, slip_date="2025/12/08")])
    for view in plant.catalog.materialized_views:
        refresh_view(plant.connection, view)


def refresh_slow(plant, monkeypatch, settings):
    monkeypatch.setenv("MV_PIPELINE_SLOW_REFRESH_SECONDS", "0.001")
    plant.refreshing.execute("SELECT 1")  # the transaction stays open, as that of a long REFRESH does
    plant.connection.execute("SELECT pg_sleep(0.01)")


def check_failed(plant, monkeypatch, settings):
    evaluate(plant.instance, CRITICAL, "full_recompute", passed=False)


def run_failed(plant, monkeypatch, settings):
    job = plant.repository.get_job("ingest")
    run = plant.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.run_tags)
    plant.instance.report_run_failed(run, "x")


def daemon_gone(plant, monkeypatch, settings):
    plant.beat()
    plant.beating = False
    plant.wait(minutes=4)


def files_waiting(plant, monkeypatch, settings):
    drop(settings.inbox_dir, KIND, "late.csv", csv_text([line(KIND)]))
    plant.now = datetime.now(TIME_ZONE)
    plant.wait(minutes=6)


def switched_off(plant, monkeypatch, settings):
    plant.switch("inbox", on=False)


def tick_failed(plant, monkeypatch, settings):
    plant.tick("changes", TickStatus.FAILURE, "broken")


def ticks_stopped(plant, monkeypatch, settings):
    plant.tick("inbox")
    plant.wait(minutes=6)


def retention_incomplete(plant, monkeypatch, settings):
    evaluate(plant.instance, RETENTION, RETENTION_CHECK, passed=False, severity=dg.AssetCheckSeverity.WARN)


SITUATIONS = (
    low_disk,
    inbox_unreadable,
    file_left_alone,
    server_unsupported,
    definition_drift,
    rejected_file,
    day_shrunk,
    file_changed,
    view_failed,
    data_missing,
    refresh_slow,
    check_failed,
    run_failed,
    daemon_gone,
    files_waiting,
    switched_off,
    tick_failed,
    ticks_stopped,
    retention_incomplete,
)
# These are in the tests of `watch`: without a database there is neither a table nor a metric.
ELSEWHERE = {ProblemType.DATABASE_UNREACHABLE, ProblemType.NOT_MIGRATED}


def test_every_type_of_problem_has_a_health_check_and_texts_and_is_made_here():
    assert set(HEALTH_CHECKS) == set(TEXTS) == set(ProblemType)
    assert {situation.__name__ for situation in SITUATIONS} == set(ProblemType) - ELSEWHERE


def test_a_health_check_needs_only_what_was_inspected_before():
    before = set()
    for problem_type, check in HEALTH_CHECKS.items():
        assert not check.needs or check.needs.partition(":")[0] in before
        before.add(problem_type)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_doctor_alerts_and_metrics_name_the_same(plant, receiver, database, settings, catalog, monkeypatch, situation):
    plant.now = datetime(2025, 12, 11, 10, 0, tzinfo=TIME_ZONE)
    with database.open(f"refresh {CRITICAL}") as plant.refreshing:
        situation(plant, monkeypatch, settings)
        update = plant.inspect()
        with plant.installation() as installation:
            inspection = inspect(installation)
            said = examine(installation)
        samples = collect(MetricsCollector(database, catalog, lambda: plant.instance)).samples

    found = {problem_type: problems for problem_type, problems in inspection.items() if problems}
    assert list(found) == [situation.__name__]
    ((problem_type, problems),) = found.items()
    levels = ["error" if problem.level == "failure" else "warning" for problem in problems]
    assert [(d.level, d.sentence) for d in said if d.level != "ok"] == [
        (level, problem.sentence) for level, problem in zip(levels, problems, strict=True)
    ]
    told = problems if HEALTH_CHECKS[problem_type].is_told else []
    assert {(i.key, i.level, i.title) for i in update.open} == {(p.key, p.level, p.title) for p in told}
    counted = {
        (dict(labels)["type"], dict(labels)["level"]): value
        for (name, labels), value in samples.items()
        if name == "mv_problems_open"
    }
    assert {labels: value for labels, value in counted.items() if value} == Counter(
        (problem.type, problem.level) for problem in told
    )
    assert {name for name, _ in counted} == {name for name, check in HEALTH_CHECKS.items() if check.is_told}


def test_where_nothing_is_wrong_doctor_says_so_of_every_health_check(plant):
    plant.beat()

    with plant.installation() as installation:
        said = examine(installation)

    assert [diagnosis.level for diagnosis in said] == ["ok"] * len(HEALTH_CHECKS)
    assert not any("{" in diagnosis.sentence for diagnosis in said)
    assert re.search(r"The database is PostgreSQL 1\d\.\d+\.", " ".join(diagnosis.sentence for diagnosis in said))
