"""No false alarm: what changes between a refresh and its check is the next refresh's business, and no fault."""

import random
import threading
import time
from dataclasses import replace
from datetime import datetime

import psycopg
import pytest

from mv_pipeline.checks.check import Check, CheckResult
from mv_pipeline.checks.recompute import proofs
from mv_pipeline.checks.rules import all_checks, definition_check, find_check, quick_checks
from mv_pipeline.database.connection import sessions
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline.refresh.views import log_failure, read_view_status, refresh_view
from mv_pipeline.settings import TIME_ZONE
from mv_pipeline_tests.checks.conftest import KIND, age_changes
from mv_pipeline_tests.conftest import LONG
from mv_pipeline_tests.migrate.test_state import edited
from mv_pipeline_tests.processes import wait_for

RECEIVE, CARD, YARD = "mart.mv_receive_daily", "mart.mv_target_card_per_day", "mart.mv_yard_daily"
DAY_BIZ, DAY_SCOPE = "mart.mv_inb_avg5y_day_biz", "mart.mv_inb_avg5y_day_scope"
STORM_S = 60 if LONG else 4
ADD_LINE = f"INSERT INTO stg.{KIND} (slip_date, receive_no, net_weight) VALUES ('2025-12-02', 9, 90000)"
BY_OTHERS = "REFRESH MATERIALIZED VIEW CONCURRENTLY"
NEWS = {
    "a line of another day": [ADD_LINE],
    "a weight of the same day": [f"UPDATE stg.{KIND} SET net_weight = 9000"],
    "a line that moves to another day": [f"UPDATE stg.{KIND} SET slip_date = '2025-11-03'"],
    "yesterday's lines": [f"UPDATE stg.{KIND} SET slip_date = '2025-12-10', net_weight = 900000"],
    "soft deletion": [f"UPDATE stg.{KIND} SET is_deleted = true, deleted_at = now(), deleted_by = 'web'"],
    "the web application's tests": [f"TRUNCATE stg.{KIND} RESTART IDENTITY CASCADE"],
    "a line of king": [
        "INSERT INTO stg.receive_king_final (invoice_no, invoice_date, vehicle_type_code, net_weight_detail) "
        "VALUES (1, '2025-12-09', 1, 500)"
    ],
    "a plan": ["INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)"],
    "a closed day": ["INSERT INTO ref.calendar_exception (ddate, override_type) VALUES ('2025-12-01', 'FORCE_CLOSED')"],
    "a longer calendar": ["INSERT INTO ref.calendar_day (ddate) VALUES ('2027-01-01')"],
    "a line, and others refresh one view": [ADD_LINE, f"{BY_OTHERS} {RECEIVE}"],
    "a line, and others refresh two views": [ADD_LINE, f"{BY_OTHERS} {RECEIVE}", f"{BY_OTHERS} {DAY_BIZ}"],
    "a line, and others refresh plainly": [ADD_LINE, f"REFRESH MATERIALIZED VIEW {RECEIVE}"],
    "an upload of others under way": [
        "INSERT INTO log.upload_file (file_name, file_hash, file_type, csv_type, processing_status) "
        "SELECT 'web.csv', 'x', 'FINAL', 'receive', status FROM unnest(ARRAY['pending', 'processing']) AS status"
    ],
}


def failures(connection, catalog):
    """The quick checks that fail; those of stg are right to, where lines were changed by hand."""
    return {
        (name, check.name): result.text
        for name in all_checks(catalog)
        if name in catalog.relations or name.startswith("raw.")
        for check in quick_checks(catalog, name)
        if not (result := check.evaluate(connection)).passed
    }


@pytest.mark.parametrize("statements", NEWS.values(), ids=NEWS)
def test_what_others_commit_between_a_refresh_and_its_checks_is_no_fault(loaded, database, catalog, statements):
    assert failures(loaded, catalog) == {}

    with database.connect("somebody else") as other:
        for statement in statements:
            other.execute(statement)

    assert failures(loaded, catalog) == {}


def test_midnight_between_a_refresh_and_its_checks_is_no_fault(loaded, database, catalog):
    loaded.execute(f"ALTER DATABASE {loaded.info.dbname} SET mv_pipeline.business_date = '2025-12-12'")
    with database.connect("the day after") as connection:
        found = find_check(catalog, RECEIVE, "newest_day").evaluate(connection)

        assert failures(connection, catalog) == {}
        assert found.text == (
            "2025-12-10 found as the newest day, 2025-12-11 expected. "
            "This is no fault: the business date moved after the refresh."
        )


def test_a_run_that_refreshes_a_view_while_another_checks_what_it_reads_is_no_fault(loaded, database, catalog):
    loaded.execute(ADD_LINE)
    for name in (RECEIVE, DAY_BIZ):
        refresh_view(loaded, catalog.relations[name])

    found = find_check(catalog, DAY_SCOPE, "same_as_day_biz").evaluate(loaded)

    assert found.passed
    assert found.message.startswith("1 offending rows found, 0 expected")
    assert failures(loaded, catalog) == {}
    refresh_view(loaded, catalog.relations[DAY_SCOPE])
    assert "no fault" not in find_check(catalog, DAY_SCOPE, "same_as_day_biz").evaluate(loaded).text


def test_a_line_that_comes_while_a_check_runs_is_not_seen_by_half_of_it(loaded, database):
    """The figures, and why they are no fault, are of one moment."""
    query = f"SELECT count(*) FROM stg.{KIND}"

    def run(connection):
        (before,) = connection.execute(query).fetchone()
        with database.connect("somebody else") as other:
            other.execute(ADD_LINE)
        (after,) = connection.execute(query).fetchone()
        return CheckResult(False, f"{before} {after}", {})

    def excuse(connection):
        return f"{connection.execute(query).fetchone()[0]} lines"

    assert Check("x", "x", run, "x", excuse=excuse).evaluate(loaded).message == "3 3 This is no fault: 3 lines."


def test_rows_that_a_plain_refresh_shows_in_an_older_snapshot_are_no_fault(loaded, database, catalog):
    """Its rows are there for every snapshot, so the check sees rows that are newer than the lines that it sees."""
    check = find_check(catalog, CARD, "equals_live_view")
    seen = []

    def run(connection):
        connection.execute("SELECT")
        if not seen:
            with database.connect("somebody else") as other:
                other.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
                other.execute(f"REFRESH MATERIALIZED VIEW {CARD}")
        seen.append(check.run(connection))
        return seen[-1]

    assert replace(check, run=run, excuse=lambda connection: "").evaluate(loaded).passed
    assert [result.passed for result in seen] == [False, True]


@pytest.mark.parametrize("statements", [NEWS["a plan"], NEWS["a line of another day"]], ids=["a plan", "a line"])
def test_a_fault_of_another_day_is_found_though_lines_change(loaded, catalog, statements):
    with loaded.transaction():
        loaded.execute("UPDATE pg_class SET relkind = 'r', relhasrules = false WHERE oid = %s::regclass", [RECEIVE])
        loaded.execute(f"UPDATE {RECEIVE} SET receive_net_ton = 7 WHERE ddate = '2025-12-01'")
        loaded.execute("UPDATE pg_class SET relkind = 'm', relhasrules = true WHERE oid = %s::regclass", [RECEIVE])
    for statement in statements:
        loaded.execute(statement)

    assert (RECEIVE, "mass_balance") in failures(loaded, catalog)


def test_what_a_long_transaction_noted_long_ago_has_waited_since_it_could_be_seen(loaded, catalog):
    loaded.execute(ADD_LINE)
    loaded.execute("INSERT INTO mart.daily_target_plan (ddate, target_ton) VALUES ('2025-12-02', 9)")
    loaded.execute("UPDATE log.change_note SET noted_at = noted_at - interval '3 hours'")
    assert failures(loaded, catalog) == {}

    age_changes(loaded, minutes=16)

    late = {name for name, check in failures(loaded, catalog) if check in ("up_to_date", "notes_read")}
    assert {CARD, RECEIVE, "mart.rollup_shogun_final_receive"} <= late


def test_a_business_date_that_nobody_has_seen_since_midnight_is_late(loaded, catalog):
    day = datetime.now(TIME_ZONE).date()
    loaded.execute(f"SET mv_pipeline.business_date = '{day}'")
    age_changes(loaded, minutes=2 * 24 * 60)

    (status,) = read_view_status(loaded, [catalog.relations[RECEIVE]])

    assert status.waiting_since == datetime.combine(day, datetime.min.time(), TIME_ZONE)


def test_a_refresh_that_ends_after_another_runs_failed_makes_that_good(connection, database, catalog):
    view = catalog.relations[YARD]
    with database.connect("an upgrade") as other, database.connect("a run") as run:
        with other.transaction():
            other.execute("LOCK TABLE stg.shogun_final_yard IN ACCESS EXCLUSIVE MODE")
            refreshing = threading.Thread(target=refresh_view, args=(run, view))
            refreshing.start()
            wait_for(
                "the refresh waits",
                lambda: connection.execute(
                    "SELECT FROM pg_locks WHERE pid = %s AND NOT granted", [run.info.backend_pid]
                ).fetchall(),
            )
            log_failure(connection, view, "canceling statement due to lock timeout")
        refreshing.join()

    (status,) = read_view_status(connection, [view])
    assert (status.failing_since, status.failures) == (None, 0)
    log_failure(connection, view, "x")
    assert read_view_status(connection, [view])[0].failures == 1


def test_definitions_are_not_judged_while_a_migration_changes_them(connection, database, catalog):
    changed = edited(catalog, RECEIVE, f"{catalog.relations[RECEIVE].query} AND true")
    check = definition_check(changed.relations[RECEIVE])
    with database.connect("migrate"):
        found = check.evaluate(connection)

    assert found.passed
    wait_for("the migration has ended", lambda: not sessions(connection, "migrate"))
    assert not check.evaluate(connection).passed
    assert found.text.endswith("This is no fault: a migration is under way.")


def test_no_check_and_no_proof_fails_while_everybody_works(loaded, database, catalog, tally):
    done = threading.Event()

    def work(seed):
        chance = random.Random(seed)
        with database.connect("somebody else") as other:
            while not done.wait(chance.uniform(0, 0.05)):
                statements = chance.choice(
                    [
                        *(
                            statement
                            for name, statement in NEWS.items()
                            if "tests" not in name and "under way" not in name
                        ),
                        [f"{BY_OTHERS} {chance.choice(catalog.materialized_views).name}"],
                        [f"DELETE FROM stg.{KIND} WHERE slip_date = '2025-12-02'"],
                    ]
                )
                for statement in statements:
                    try:
                        other.execute(statement)
                        tally["changes while checks ran"] += 1
                    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                        tally["changes refused"] += 1

    def keep_fresh():
        with database.connect("a run") as run:
            while not done.is_set():
                for rollup in catalog.rollups:
                    with run.transaction():
                        update_rollup(run, rollup)
                for view in catalog.materialized_views:
                    refresh_view(run, view)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    threads.append(threading.Thread(target=keep_fresh))
    for thread in threads:
        thread.start()
    found = {}
    deadline = time.monotonic() + STORM_S
    try:
        while time.monotonic() < deadline:
            found |= failures(loaded, catalog)
            for name, prove in proofs(catalog).items():
                result = prove(loaded).result()
                tally["proofs while lines changed"] += 1
                if not result.passed:
                    found[name, "proof"] = result.text
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert found == {}
