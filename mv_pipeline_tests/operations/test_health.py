"""Every kind of trouble: one message when it begins, none while it lasts, one when it is over."""

import logging
import pathlib
import re
from datetime import datetime, timedelta

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.intake.inbox import scan
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.operations.database_health import rejected_files
from mv_pipeline.operations.problem import COOLDOWN
from mv_pipeline.operations.taken_files import put_back_changed_files
from mv_pipeline.operations.uploads import confirm_upload, restore_upload
from mv_pipeline.refresh.views import log_failure, refresh_view
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.factory import csv_text, line, take
from mv_pipeline_tests.operations.conftest import ABSENT_PORT, CANARY, tells_once

KIND = "shogun_final_receive"
CRITICAL = "mart.mv_receive_daily"
OPTIONAL = "mart.mv_yard_daily"
YARD = "shogun_final_yard"


def test_a_rejected_file(plant, receiver, connection, settings, catalog):
    def correct():
        take(connection, settings, [line(KIND)], name="bad.csv")
        no_day_is_missing(connection, "receive")

    message = tells_once(
        plant,
        receiver,
        lambda: take(connection, settings, [line(KIND, net_weight="x"), line(KIND, net_weight="y")], name="bad.csv"),
        correct,
    )

    assert message["type"] == "failure"
    assert message["title"].startswith("受入最終のファイル「bad.csv」を取り込めませんでした")
    assert "・数値として読めません（整数部は12桁まで）。（2件）" in message["message"]
    assert "This is no number" in message["message"]
    assert str(settings.rejected_dir / KIND / "bad.csv.errors.csv") in message["message"]
    assert f"inbox/{KIND}/ に置き直してください" in message["message"]
    assert "目標カード (target_card), 受入ダッシュボード (inbound)" in message["message"]


def confirm(connection, settings, first, second):
    confirm_upload(connection, second.id)


def restore(connection, settings, first, second):
    restore_upload(connection, first.id)


def replace(connection, settings, first, second):
    take(connection, settings, [line(YARD, slip_date="2025/12/11", net_weight=90)], YARD)


@pytest.mark.parametrize("repair", [confirm, restore, replace])
def test_a_day_that_shrinks_is_told_to_the_office_until_it_is_confirmed_or_replaced(
    plant, receiver, connection, settings, repair
):
    uploads = []

    def shrink():
        for lines in (13, 1):
            uploads.append(take(connection, settings, [line(YARD, slip_date="2025/12/11")] * lines, YARD, "一覧.csv"))

    message = tells_once(plant, receiver, shrink, lambda: repair(connection, settings, *uploads))

    first, second = (upload.id for upload in uploads)
    assert message["type"] == "warning"
    assert message["title"].startswith("ヤード最終の2025-12-11のデータが大きく減りました（13行 1,300 kg → 1行 100 kg）")
    assert f"ファイル File: 一覧.csv（upload {second}）" in message["message"]
    assert f"inbox/{YARD}/ に置いてください" in message["message"]
    assert f"`mv-pipeline uploads restore {first} --day 2025-12-11`" in message["message"]
    assert f"`mv-pipeline uploads confirm {second}`" in message["message"]
    assert "出荷・ヤード日報 (shipment_and_yard)" in message["message"]
    assert f"/assets/stg/{YARD}" in message["message"]


def test_a_shrunk_day_is_told_to_the_office_alone(plant, receiver, second, connection, settings, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_ALERT_OFFICE_URLS", second.url)
    for lines in (3, 1):
        take(connection, settings, [line(YARD, slip_date="2025/12/11")] * lines, YARD)

    plant.inspect()

    assert receiver.take() == []
    assert len(second.take()) == 1


SIMILAR = ("a.csv", "april.csv", "a.b.csv", "a-1.csv", "a.csv.csv", "ア.csv", "アプリ.csv")


@pytest.mark.parametrize("names", [SIMILAR, SIMILAR[::-1]])
def test_the_message_about_a_rejected_file_names_its_own_report(plant, connection, settings, names):
    for name in names:
        take(connection, settings, [line(KIND, net_weight="x")], name=name)

    with plant.installation() as installation:
        told = {problem.subject: problem.happened for problem in rejected_files(installation)}

    assert told.keys() == {f"{KIND}/{name}" for name in names}
    for name in names:
        report = settings.rejected_dir / KIND / f"{name}.errors.csv"
        assert f" {report}\n" in told[f"{KIND}/{name}"] + "\n"
        assert report.is_file()


def test_a_name_that_was_rejected_before_is_told_with_the_newest_report(plant, connection, settings):
    for weight in ("x", "y"):
        take(connection, settings, [line(KIND, net_weight=weight)], name="a.csv")

    with plant.installation() as installation:
        (problem,) = rejected_files(installation)

    (named,) = re.findall(r" (\S+\.errors\.csv)$", problem.happened)
    assert ",y," in pathlib.Path(named).read_text(encoding="utf-8-sig")


def test_of_a_rejected_file_whose_report_nobody_noted_the_folder_is_named(plant, connection, settings):
    take(connection, settings, [line(KIND, net_weight="x")], name="a.csv")
    connection.execute("UPDATE log.upload_file SET metadata = metadata - 'report'")

    with plant.installation() as installation:
        (problem,) = rejected_files(installation)

    assert problem.happened.endswith(f" {settings.rejected_dir / KIND}")
    assert ".errors.csv" not in problem.message


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("list.xlsx", "no folder of a CSV kind"),
        (f"{KIND}/list.xlsx", "no .csv file"),
        ("list.csv", "no folder of a CSV kind"),
        ("受入/list.csv", "no folder of a CSV kind"),
    ],
)
def test_the_office_is_told_of_what_is_not_taken_after_ten_minutes(
    plant, receiver, second, settings, monkeypatch, place, reason
):
    monkeypatch.setenv("MV_PIPELINE_ALERT_OFFICE_URLS", second.url)
    path = settings.inbox_dir / place
    path.parent.mkdir(exist_ok=True)
    path.touch()
    plant.inspect()
    plant.wait(minutes=9)
    plant.inspect()
    assert second.take() == []

    plant.wait(minutes=1)
    plant.inspect()

    (message,) = second.messages
    shown = place.partition("/")[0] if reason.startswith("no folder") else place
    title = f"「{shown}」は取り込まれません {shown} in the inbox is left alone ({reason})"
    assert (message["type"], message["title"]) == ("warning", title)
    assert "置き直してください" in message["message"]
    assert receiver.take() == []


def test_the_office_is_not_told_of_what_other_programs_put_there(plant, receiver, settings):
    for name in ("Thumbs.db", "desktop.ini", "~$x.csv", "._x.csv", ".~lock.x#", "x.lnk"):
        (settings.inbox_dir / KIND / name).touch()
    for name in ("$RECYCLE.BIN", "@eaDir"):
        (settings.inbox_dir / name).mkdir()
    plant.inspect()
    plant.wait(minutes=11)

    assert plant.inspect().open == []


def test_a_file_that_somebody_has_written_on(plant, receiver, connection, settings):
    """The office is told what it was and what it is, once; after a day nothing of it is said any more."""

    def write_on():
        take(connection, settings, [line(KIND, net_weight=1000)])
        (path,) = settings.archive_dir.rglob("a.csv")
        path.write_text(csv_text([line(KIND, net_weight=weight) for weight in (1000, 2500)]), "cp932", newline="")
        put_back_changed_files(connection, settings)
        (found,) = scan(settings.inbox_dir).files
        take_file(connection, settings, find_kind(KIND), found.path, "inbox")
        no_day_is_missing(connection, "receive")

    message = tells_once(
        plant,
        receiver,
        write_on,
        lambda: connection.execute("UPDATE log.upload_file SET uploaded_at = uploaded_at - interval '1 day'"),
    )

    assert message["type"] == "warning"
    assert message["title"].startswith("受入最終のファイル「a.csv」は、取り込みのあとに書き足されていました")
    assert "before: 1行 1000 kg" in message["message"]
    assert "after: 2行 3500 kg" in message["message"]
    assert "目標カード (target_card), 受入ダッシュボード (inbound)" in message["message"]


def no_day_is_missing(connection, csv_type):
    connection.execute(
        f"INSERT INTO stg.shogun_flash_{csv_type} (slip_date, net_weight) "
        "SELECT ref.business_date() - n, 1 FROM generate_series(1, 14) AS n"
    )


@pytest.mark.parametrize(("view", "level"), [(CRITICAL, "failure"), (OPTIONAL, "warning")])
def test_a_view_that_cannot_be_refreshed(plant, receiver, connection, catalog, view, level):
    relation = catalog.relations[view]

    message = tells_once(
        plant,
        receiver,
        lambda: log_failure(connection, relation, "division by zero", "a-run"),
        lambda: refresh_view(connection, relation),
    )

    assert message["type"] == level
    assert message["title"] == f"{view} ({relation.header.criticality}) can't be refreshed"
    assert "division by zero" in message["message"]
    assert f"`mv-pipeline refresh {view}`" in message["message"]
    assert "http://127.0.0.1:3000/runs/a-run" in message["message"]
    dashboards = "目標カード (target_card), 受入ダッシュボード (inbound), 搬入量予測モデル (inbound_forecast)"
    shown = dashboards if view == CRITICAL else "出荷・ヤード日報 (shipment_and_yard)"
    assert f"What it means: Older rows are shown in: {shown}\n" in message["message"]


def evaluate(instance, name, check, passed, severity=dg.AssetCheckSeverity.ERROR, remedy=""):
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(name.split(".")),
            check_name=check,
            passed=passed,
            severity=severity,
            metadata={"remedy": dg.MetadataValue.text(remedy)} if remedy else {},
            description=f"3 rows found, 4 expected. {remedy}".rstrip(),
        )
    )


@pytest.mark.parametrize(
    ("name", "check"),
    [(CRITICAL, "row_count"), (CRITICAL, "definition"), ("mart.rollup_shogun_final_receive", "full_recompute")],
)
@pytest.mark.parametrize("remedy", ["Run `mv-pipeline diff x`, then `mv-pipeline migrate`.", "原因を調べてください。"])
def test_a_failed_check_is_told_with_its_own_remedy_and_no_other(plant, receiver, name, check, remedy):
    message = tells_once(
        plant,
        receiver,
        lambda: evaluate(plant.instance, name, check, passed=False, remedy=remedy),
        lambda: evaluate(plant.instance, name, check, passed=True),
    )

    assert (message["type"], message["title"]) == ("failure", f"The check {check} of {name} failed")
    assert "3 rows found, 4 expected.\n" in message["message"]
    assert message["message"].count(remedy) == 1
    assert f"What to do: {remedy}" in message["message"]
    assert "`mv-pipeline refresh" not in message["message"]
    assert "Wrong or old numbers may be shown in: 目標カード (target_card)" in message["message"]


def test_a_check_that_an_earlier_version_evaluated_is_told_too(plant, receiver):
    evaluate(plant.instance, CRITICAL, "row_count", passed=False)

    plant.inspect()

    (message,) = receiver.messages
    assert "3 rows found, 4 expected.\n" in message["message"]
    assert "What to do: The check's text says it." in message["message"]


def test_a_check_that_only_warns_is_silent(plant, receiver):
    evaluate(plant.instance, "raw." + KIND, "last_upload_accepted", passed=False, severity=dg.AssetCheckSeverity.WARN)

    plant.inspect()

    assert receiver.take() == []


def test_a_missing_day(plant, receiver, connection, settings):
    """Today is Thursday 2025-12-11; the newest lines are Monday's, so Tuesday and Wednesday are missing."""
    plant.now = datetime(2025, 12, 11, 10, 0, tzinfo=TIME_ZONE)

    def load(day):
        take(connection, settings, [line(KIND, slip_date=day)], name=f"{day[-2:]}.csv")

    message = tells_once(
        plant, receiver, lambda: load("2025/12/08"), lambda: [load(day) for day in ("2025/12/09", "2025/12/10")]
    )

    assert (message["type"], message["title"]) == (
        "failure",
        "受入のデータがありません（2営業日） No receive lines for 2 business days",
    )
    assert "2025-12-09, 2025-12-10" in message["message"]
    assert "発生 Since: 2025-12-10 09:00 (Asia/Tokyo)" in message["message"]
    assert "目標カード (target_card), 受入ダッシュボード (inbound)" in message["message"]


@pytest.mark.parametrize(("hour", "missing"), [("9", True), ("11", False)])
def test_a_day_is_missing_when_its_hour_has_come(plant, receiver, connection, settings, monkeypatch, hour, missing):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", hour)
    plant.now = datetime(2025, 12, 11, 10, 0, tzinfo=TIME_ZONE)
    take(connection, settings, [line(KIND, slip_date="2025/12/09")])

    plant.inspect()

    assert bool(receiver.take()) is missing


def test_a_closed_day_is_not_missed(plant, receiver, connection, settings):
    connection.execute("INSERT INTO ref.closure_periods VALUES ('2025-12-10', '2025-12-10', '臨時休業')")
    plant.now = datetime(2025, 12, 11, 10, 0, tzinfo=TIME_ZONE)
    take(connection, settings, [line(KIND, slip_date="2025/12/09")])

    plant.inspect()

    assert receiver.take() == []


def test_a_refresh_that_takes_too_long(plant, receiver, database, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_SLOW_REFRESH_SECONDS", "0.01")
    with database.open(f"refresh {CRITICAL}") as refreshing:

        def begin():
            refreshing.execute("SELECT 1")  # the transaction stays open, as that of a long REFRESH does
            plant.connection.execute("SELECT pg_sleep(0.02)")

        message = tells_once(plant, receiver, begin, refreshing.rollback)

    assert message["title"] == f"The refresh of {CRITICAL} has been running for over 0.01 s"
    assert "SELECT pg_cancel_backend(" in message["message"]


def tick_on(plant, name, status=TickStatus.SKIPPED, error=""):
    """From now on the sensor ticks whenever time passes."""

    def wait(**span):
        plant.now += timedelta(**span)
        plant.tick(name, status, error)

    plant.wait = wait
    wait(seconds=0)


@pytest.mark.parametrize("name", ["inbox", "changes", "nightly"])
def test_a_tick_that_fails(plant, receiver, name):
    plant.tick(name)
    plant.wait(seconds=5)

    message = tells_once(
        plant,
        receiver,
        lambda: tick_on(plant, name, TickStatus.FAILURE, "ValueError: broken"),
        lambda: tick_on(plant, name),
    )

    what = "schedule" if name == "nightly" else "sensor"
    assert (message["type"], message["title"]) == ("failure", f"The {what} {name} fails")
    assert "ValueError: broken" in message["message"]
    assert f"/locations/mv_pipeline/{what}s/{name}" in message["message"]


def test_one_failed_tick_among_good_ones_is_silent(plant, receiver):
    plant.tick("inbox", TickStatus.FAILURE, "once")
    plant.inspect()
    plant.wait(seconds=30)
    plant.tick("inbox")
    plant.inspect()
    plant.wait(minutes=5)
    plant.tick("inbox")
    plant.inspect()

    assert receiver.take() == []


def test_a_sensor_that_stops_ticking(plant, receiver):
    plant.tick("inbox")

    message = tells_once(plant, receiver, lambda: plant.wait(minutes=6), lambda: tick_on(plant, "inbox"))

    assert message["title"] == "The sensor inbox has stopped ticking"
    assert "Starts one run for all CSV files" in message["message"]
    assert "Older rows may be shown in: 目標カード (target_card)" in message["message"]


def test_a_sensor_that_is_switched_off(plant, receiver):
    plant.tick("inbox")

    def switch_on():
        plant.switch("inbox", on=True)
        tick_on(plant, "inbox")

    message = tells_once(plant, receiver, lambda: plant.switch("inbox", on=False), switch_on)

    assert message["title"] == "The sensor inbox is switched off"


def test_a_nightly_run_that_is_not_begun(plant, receiver):
    plant.now = datetime(2025, 12, 11, 0, 10, tzinfo=TIME_ZONE)
    plant.tick("nightly")
    plant.wait(hours=24, minutes=9)
    plant.inspect()
    assert receiver.take() == []

    plant.wait(minutes=2)
    plant.inspect()
    plant.wait(minutes=2)
    plant.inspect()

    assert receiver.take() == [("failure", "The schedule nightly has stopped ticking")]


def test_the_daemon_gone(plant, receiver):
    """Nothing ticks without it, and that isn't told for every sensor."""
    for name in ("inbox", "changes", "nightly"):
        plant.tick(name)

    def die():
        plant.beat()
        plant.beating = False
        plant.wait(minutes=4)

    def revive():
        plant.beating = True
        for name in ("inbox", "changes", "nightly"):
            plant.tick(name)

    message = tells_once(plant, receiver, die, revive)

    assert (message["type"], message["title"]) == ("failure", "The daemon is gone")
    for title in ("目標カード", "受入ダッシュボード", "出荷・ヤード日報", "売上ツリー", "搬入量予測モデル"):
        assert title in message["message"]
    assert "systemctl restart mv-pipeline@daemon" in message["message"]


# Storms, receivers that are unreachable, and who is told


def break_everything(plant, connection, catalog):
    """Far more than one thing at once."""
    for view in catalog.materialized_views:
        log_failure(connection, view, "out of memory " * 1000)
        for check in ("row_count", "key_unique", "up_to_date", "concurrent_index", "full_recompute"):
            evaluate(plant.instance, view.name, check, passed=False)


def test_an_outage_is_one_message_of_bounded_length(plant, receiver, connection, catalog):
    break_everything(plant, connection, catalog)

    update = plant.inspect()

    assert len(update.open) > 50
    ((message,), sent) = receiver.messages, update.sent
    assert sent == 1
    assert message["type"] == "failure"
    assert message["title"].startswith(f"{len(update.open)} 件の問題 problems: ")
    assert f"and {len(update.open) - 25} more" in message["message"]
    assert len(message["message"]) < 15_000

    receiver.messages.clear()
    plant.inspect()
    assert receiver.take() == []

    for view in catalog.materialized_views:
        refresh_view(connection, view)
        for check in ("row_count", "key_unique", "up_to_date", "concurrent_index", "full_recompute"):
            evaluate(plant.instance, view.name, check, passed=True)
    plant.wait(minutes=3)
    assert (plant.inspect().sent, plant.inspect().sent) == (1, 0)
    ((level, title),) = receiver.take()
    assert (level, title.split(":")[0]) == ("success", f"{len(update.open)} 件が解決 resolved")


def test_a_receiver_that_is_unreachable_is_told_later(plant, receiver, connection, catalog):
    receiver.refuses = True
    log_failure(connection, catalog.relations[CRITICAL], "x")

    updates = [plant.inspect(), plant.inspect()]

    assert [(update.sent, update.failed) for update in updates] == [(0, ("1 json",))] * 2
    assert connection.execute("SELECT notified_at, told FROM log.incident").fetchall() == [(None, [])]
    receiver.refuses = False
    assert plant.inspect().sent == 1
    assert len(receiver.take()) == 1
    assert plant.inspect().sent == 0


def test_nobody_is_told_of_the_end_of_what_he_was_not_told_of(plant, receiver, connection, catalog):
    receiver.refuses = True
    log_failure(connection, catalog.relations[CRITICAL], "x")
    plant.inspect()
    refresh_view(connection, catalog.relations[CRITICAL])
    plant.wait(minutes=3)
    receiver.refuses = False

    assert plant.inspect().sent == 0
    assert connection.execute("SELECT closed_at IS NOT NULL FROM log.incident").fetchall() == [(True,)]


def test_one_dead_receiver_makes_the_other_hear_nothing_twice(plant, receiver, connection, catalog, monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_ALERT_URLS", f"json://127.0.0.1:{ABSENT_PORT}/, {receiver.url}")
    log_failure(connection, catalog.relations[CRITICAL], "x")

    updates = [plant.inspect(), plant.inspect()]

    assert [(update.sent, update.failed) for update in updates] == [(1, ("1 json",)), (0, ("1 json",))]
    assert len(receiver.take()) == 1


def test_the_office_is_told_of_files_and_the_operator_of_the_rest(
    plant, receiver, second, connection, settings, catalog, monkeypatch
):
    monkeypatch.setenv("MV_PIPELINE_ALERT_OFFICE_URLS", second.url)
    take(connection, settings, [line(KIND, net_weight="x")], name="bad.csv")
    log_failure(connection, catalog.relations[CRITICAL], "x")

    plant.inspect()

    assert [title for _, title in receiver.take()] == [f"{CRITICAL} (critical) can't be refreshed"]
    assert [title[:24] for _, title in second.take()] == ["受入最終のファイル「bad.csv」を取り込めませんでした"[:24]]


def test_a_file_that_is_rejected_again_is_told_again(plant, receiver, connection, settings):
    take(connection, settings, [line(KIND, net_weight="x")], name="bad.csv")
    plant.inspect()
    take(connection, settings, [line(KIND, net_weight="x")], name="bad.csv")
    plant.inspect()
    assert len(receiver.take()) == 1

    take(connection, settings, [line(KIND, slip_date="2025/13/01")], name="bad.csv")
    plant.inspect()
    plant.inspect()

    (message,) = receiver.messages
    assert "日付として読めません" in message["message"]
    assert connection.execute("SELECT count(*) FROM log.incident").fetchone() == (1,)


def test_a_good_file_that_came_with_a_rejected_one_does_not_hide_it(plant, receiver, connection, settings):
    take(connection, settings, [line(KIND, net_weight="x")], name="bad.csv")
    take(connection, settings, [line(KIND, slip_date="2025/12/10")], name="good.csv")
    no_day_is_missing(connection, "receive")

    plant.inspect()

    assert [title[:2] for _, title in receiver.take()] == ["受入"]


def test_trouble_that_comes_and_goes_is_one_incident(plant, receiver, connection, catalog):
    relation = catalog.relations[CRITICAL]
    for _ in range(3):
        log_failure(connection, relation, "x")
        plant.inspect()
        refresh_view(connection, relation)
        plant.wait(seconds=COOLDOWN.total_seconds() / 2)
        plant.inspect()

    assert [level for level, _ in receiver.take()] == ["failure"]


def test_an_incident_of_a_type_that_an_earlier_version_knew_is_over(plant, receiver, connection):
    connection.execute(
        "INSERT INTO log.incident (key, kind, level, audience, state, title, message, opened_at, first_seen_at, "
        "last_seen_at, told) SELECT 'database_away:dagster', 'database_away', 'failure', 'operator', '', 'x', '', at, "
        "at, at, '{1 json}' FROM (SELECT now() - interval '1 hour' AS at)"
    )

    assert plant.inspect().open == []
    assert receiver.take() == [("success", "解決 Resolved: x")]


def test_without_receivers_trouble_is_logged(plant, connection, catalog, monkeypatch, caplog):
    monkeypatch.delenv("MV_PIPELINE_ALERT_URLS")
    log_failure(connection, catalog.relations[CRITICAL], "out of memory")

    with caplog.at_level(logging.INFO, logger="mv_pipeline"):
        update = plant.inspect()

    assert (update.sent, len(update.open)) == (0, 1)
    assert [(entry.levelname, "out of memory" in entry.message) for entry in caplog.records] == [("ERROR", True)]


def test_two_inspections_at_once_tell_once(plant, receiver, connection, catalog, database):
    log_failure(connection, catalog.relations[CRITICAL], "x")

    with database.transaction() as other:
        other.execute("LOCK TABLE log.incident IN SHARE UPDATE EXCLUSIVE MODE")
        assert plant.inspect().sent == 0
    assert plant.inspect().sent == 1


def test_no_transaction_is_open_while_a_message_is_sent(plant, receiver, connection, catalog, monkeypatch):
    from mv_pipeline.operations import alerts

    def send_and_read(*args):
        found = connection.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'mv_pipeline alerts'"
        )
        states.extend(found.fetchall())
        return send(*args)

    states, send = [], alerts.send
    monkeypatch.setattr(alerts, "send", send_and_read)
    log_failure(connection, catalog.relations[CRITICAL], "x")

    plant.inspect()

    assert states == [("idle",)]


@pytest.mark.parametrize("url", ["json://user:{}@127.0.0.1:9/", "slack://{}/{}/{}", "nosuch://{}", "mailto://u:{}@x"])
def test_no_log_repeats_what_a_receivers_url_holds(plant, connection, catalog, monkeypatch, caplog, capfd, url):
    monkeypatch.setenv("MV_PIPELINE_ALERT_URLS", url.format(*[CANARY] * 3))
    log_failure(connection, catalog.relations[CRITICAL], "x")

    with caplog.at_level(logging.DEBUG):
        update = plant.inspect()

    assert update.failed == (f"1 {url.split(':')[0]}",)
    assert CANARY not in f"{update} {caplog.text} {capfd.readouterr()}"
    assert CANARY not in str(connection.execute("SELECT * FROM log.incident").fetchall())


def test_the_kinds_folder_in_a_message_is_one(plant, receiver, connection, settings):
    """Whoever follows the message finds the folder."""
    plant.now = datetime(2025, 12, 11, 10, 0, tzinfo=TIME_ZONE)
    take(connection, settings, [line(KIND, slip_date="2025/12/08")])

    plant.inspect()

    folders = [part.split("/")[0] for part in receiver.messages[0]["message"].split("inbox/")[1:]]
    assert [find_kind(folder).name for folder in folders] == folders
    assert len(folders) == 2
