"""Every check, made to fail on a real database, says what it found, what it expected and what to do."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass

import dagster as dg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import KING
from mv_pipeline.checks.rules import PROOF
from mv_pipeline.database.connection import Connection
from mv_pipeline.defs.checks import build_checks, check_keys
from mv_pipeline.refresh.views import log_failure, refresh_view
from mv_pipeline.settings import Settings
from mv_pipeline_tests.checks.conftest import age_changes
from mv_pipeline_tests.factory import line, roll_up, take

IMPERATIVE = re.compile(r"(?:^|[.。] )(?:Run|Correct|Drop|Export|Find|Inspect|Enable) ")
SOME = r"[1-9]\d*"
# The five Wednesdays of ISO week 50; the last of them is yesterday.
WEDNESDAYS = {"2021-12-15": 100, "2022-12-14": 110, "2023-12-13": 90, "2024-12-11": 104, "2025-12-10": 900}


@dataclass(frozen=True)
class Plant:
    """A plant in which all is well, until the test lets one thing go wrong everywhere."""

    connection: Connection
    catalog: Catalog
    settings: Settings

    def take(self, **cells: object) -> None:
        """Take a file of two days for every kind."""
        for kind in KINDS:
            number = kind.list.slip_number
            lines = [line(kind, **{"slip_date": f"2025/12/{day}", number: day, **cells}) for day in ("09", "10")]
            take(self.connection, self.settings, lines, kind.name)

    def bring_up_to_date(self) -> None:
        """Roll up and refresh everything."""
        roll_up(self.connection, self.catalog)
        for view in self.catalog.materialized_views:
            refresh_view(self.connection, view)

    def change_lines(self, change: str, *, tracked: bool = True) -> None:
        """Run a statement on every kind's staging table; untracked: as a restore of a dump does."""
        for kind in KINDS:
            self.change(f"stg.{kind.name}", change, tracked=tracked)

    def change(self, table: str, change: str, *, tracked: bool = True) -> None:
        """Run a statement on a table."""
        if not tracked:
            self.connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        self.connection.execute(change.format(table=table))
        self.connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    def change_views(self, change: str, names: Container[str] | None = None) -> None:
        """Run a statement on the rows of materialized views (None: of each), as nothing but a fault could."""
        for view in self.catalog.materialized_views:
            if names is not None and view.name not in names:
                continue
            with self.connection.transaction():
                kind = "UPDATE pg_class SET relkind = %s, relhasrules = %s WHERE oid = %s::regclass"
                self.connection.execute(kind, ["r", False, view.name])
                self.connection.execute(change.format(view=view.name, key=view.header.key[0]))
                self.connection.execute(kind, ["m", True, view.name])

    def drop_unique_indexes(self) -> None:
        """Leave no view a unique index."""
        for (name,) in self.connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
            "WHERE relkind = 'm' AND indisunique"
        ).fetchall():
            self.connection.execute(f"DROP INDEX {name}")


@pytest.fixture
def plant(connection: Connection, catalog: Catalog, settings: Settings) -> Plant:
    return Plant(connection, catalog, settings)


def loaded(plant: Plant) -> None:
    plant.take(net_weight=500)
    plant.bring_up_to_date()


def by_day(plant: Plant) -> list[str]:
    return [view.name for view in plant.catalog.materialized_views if view.header.days]


def empty_views(plant: Plant) -> None:
    plant.change_views("DELETE FROM {view}")


def double_rows(plant: Plant) -> None:
    loaded(plant)
    plant.drop_unique_indexes()
    plant.change_views("INSERT INTO {view} SELECT * FROM {view} LIMIT 1")


def receive_by_king(plant: Plant) -> None:
    plant.connection.execute(
        f"INSERT INTO {KING.name} (invoice_no, invoice_date, vehicle_type_code, net_weight_detail) "
        "VALUES (1, '2025-12-09', 1, 500)"
    )


def leave_changes_waiting(plant: Plant) -> None:
    receive_by_king(plant)
    plant.change_lines("INSERT INTO {table} (slip_date, net_weight) VALUES ('2025-12-09', 1)")
    age_changes(plant.connection, minutes=16)


def fail_to_store(plant: Plant) -> None:
    leave_changes_waiting(plant)
    for rollup in plant.catalog.rollups:
        log_failure(plant.connection, rollup, "The disk is full.\nDETAIL: nobody's business")


def lose_the_newest_day(plant: Plant) -> None:
    plant.change_views("DELETE FROM {view} WHERE {key} = (SELECT max({key}) FROM {view})", by_day(plant))


def lose_two_days(plant: Plant) -> None:
    loaded(plant)
    plant.change_views("DELETE FROM {view} WHERE {key} IN ('2025-12-09', '2025-12-10')", by_day(plant))


def lose_a_row(plant: Plant) -> None:
    """Lose another row of each view, as one that is missing upstream too would be right to be missing."""
    loaded(plant)
    for number, view in enumerate(plant.catalog.materialized_views):
        row = f"SELECT ctid FROM {view.name} ORDER BY {', '.join(view.header.key)} OFFSET {number} LIMIT 1"
        plant.change_views(f"DELETE FROM {view.name} WHERE ctid = ({row})", [view.name])


def receive_far_too_much(plant: Plant) -> None:
    for day, tons in WEDNESDAYS.items():
        plant.connection.execute(
            "INSERT INTO stg.shogun_final_receive (slip_date, net_weight) VALUES (%s, %s)", [day, tons * 1000]
        )
    plant.bring_up_to_date()


def change_an_actual(plant: Plant) -> None:
    plant.change_views("UPDATE {view} SET actual_ton = 9 WHERE ddate = '2025-12-09'", ["mart.mv_inbound_kpi_daily"])


def change_a_profile(plant: Plant) -> None:
    loaded(plant)
    plant.change_views(
        "UPDATE {view} SET n = n + 1 WHERE ctid = (SELECT min(ctid) FROM {view} WHERE scope = 'biz')",
        ["mart.mv_inb_avg5y_day_scope"],
    )


def drop_a_bad_file(plant: Plant) -> None:
    plant.take(net_weight="x")


def lose_a_line(plant: Plant) -> None:
    loaded(plant)
    plant.change_lines("DELETE FROM {table} WHERE slip_date = '2025-12-09'")


def change_a_weight(plant: Plant) -> None:
    loaded(plant)
    plant.change_lines("UPDATE {table} SET net_weight = 501 WHERE slip_date = '2025-12-09'")


def change_a_weight_unnoticed(plant: Plant) -> None:
    receive_by_king(plant)
    loaded(plant)
    plant.change(KING.name, "UPDATE {table} SET net_weight_detail = 501", tracked=False)
    plant.change_lines("UPDATE {table} SET net_weight = 501 WHERE slip_date = '2025-12-09'", tracked=False)


def receive_a_fifth(plant: Plant) -> None:
    for weight in (500, 100):
        plant.take(net_weight=weight)


def receive_tomorrow(plant: Plant) -> None:
    plant.change_lines("INSERT INTO {table} (slip_date) VALUES ('2025-12-12')")


def correct_a_slips_date(plant: Plant) -> None:
    for kind in KINDS:
        for day in ("2025/12/09", "2025/12/10"):
            take(plant.connection, plant.settings, [line(kind, slip_date=day)], kind.name)


def edit_files(plant: Plant) -> None:
    """Let every file be another than the one that was migrated."""
    plant.connection.execute("UPDATE log.relation SET definition_hash = 'edited'")


def drop_no_more_files(plant: Plant) -> None:
    """Let nothing come after one early day."""
    plant.change_lines("INSERT INTO {table} (slip_date) VALUES ('2025-12-01')")
    plant.bring_up_to_date()


@dataclass(frozen=True)
class Failure:
    """How a check is made to fail, and the figures that it then has to name."""

    provoke: Callable[[Plant], None]
    found: str
    expected: str = r"\b0 expected"


# By what is checked, and by the check. Two days of 500 kg are received, in the final file and in the flash file.
FAILURES = {
    ("view", "row_count"): Failure(empty_views, r"^0 rows found", r"(1805|2191|at least 1) expected"),
    ("view", "key_unique"): Failure(double_rows, r"^1 duplicate and 0 NULL keys found"),
    ("view", "up_to_date"): Failure(leave_changes_waiting, rf"^{SOME} changes found"),
    ("view", "concurrent_index"): Failure(
        Plant.drop_unique_indexes, r"^0 compatible index found", "at least 1 expected"
    ),
    ("view", "newest_day"): Failure(
        lose_the_newest_day, r"^(2025-12-09|2026-12-30) found", r"(2025-12-10|2026-12-31) expected"
    ),
    ("view", "mass_balance"): Failure(lose_two_days, r"^0 tons found on the 2 days", r"\b1\.000 expected"),
    ("view", "equals_live_view"): Failure(lose_a_row, r"^1 rows found that differ"),
    ("view", "yesterday_usual"): Failure(receive_far_too_much, r"900\.0 tons found", r"101\.0 ± 8\.4 expected"),
    ("view", "actual_as_received"): Failure(change_an_actual, r"^1 offending rows found"),
    ("view", "same_as_day_biz"): Failure(change_a_profile, r"^1 offending rows found"),
    # More than one where a row that it reads is missing too.
    ("view", "full_recompute"): Failure(lose_a_row, rf"^{SOME} rows found that differ"),
    **{
        (layer, "definition"): Failure(
            edit_files, r"^Definition drift of .*: edited found", r"\b[0-9a-f]{12} of the file expected"
        )
        for layer in ("view", "rollup", "stg")
    },
    ("rollup", "notes_read"): Failure(leave_changes_waiting, rf"^{SOME} changes found"),
    ("rollup", "storable"): Failure(fail_to_store, r"^1 failures found since changes were last stored"),
    # The old row and the new one.
    ("rollup", "full_recompute"): Failure(change_a_weight_unnoticed, r"^2 rows found that differ"),
    ("raw", "last_upload_accepted"): Failure(drop_a_bad_file, r"\b2 problems found"),
    ("stg", "rows_as_in_file"): Failure(lose_a_line, r"^1 differences between file, raw and stg found"),
    ("stg", "mass_balance"): Failure(change_a_weight, r"^1 differences between file, raw and stg found"),
    ("stg", "no_day_shrunk"): Failure(receive_a_fifth, r"^2 days found"),
    ("stg", "no_future_day"): Failure(receive_tomorrow, r"^1 lines found on days after 2025-12-11"),
    ("stg", "slips_on_one_day"): Failure(correct_a_slips_date, r"^1 slip numbers found"),
    ("overview", "receive_files_complete"): Failure(drop_no_more_files, rf"^{SOME} of the business days .* found"),
}


# What makes these fail takes more than one statement; it is in their own tests.
TESTED_ELSEWHERE = {("view", "bloat"), ("housekeeping", "nothing_too_old")}


def case_of(key: dg.AssetCheckKey) -> tuple[str, str]:
    schema, name = key.asset_key.path
    layer = (
        schema
        if schema in ("raw", "stg", "overview", "housekeeping")
        else "rollup"
        if name.startswith("rollup_")
        else "view"
    )
    return layer, key.name


def test_every_check_is_made_to_fail(catalog):
    assert {case_of(key) for key in check_keys(catalog)} == FAILURES.keys() | TESTED_ELSEWHERE


@pytest.mark.parametrize("case", FAILURES, ids=" ".join)
def test_a_failed_check_says_what_was_found_what_was_expected_and_what_to_do(
    plant, database, catalog, instance, monkeypatch, case
):
    monkeypatch.setenv("MV_PIPELINE_FILES_DUE_HOUR", "0")
    failure = FAILURES[case]
    keys = {key for key in check_keys(catalog) if case_of(key) == case}
    failure.provoke(plant)

    # A proof repairs what it finds, and is news to what lies downstream: so that comes first, each in a run of its own.
    order = [dg.AssetKey(name.split(".")) for name in catalog.relations]
    batches = [{key} for key in sorted(keys, key=lambda key: -order.index(key.asset_key))] if PROOF in case else [keys]
    every_check = build_checks(catalog)
    found = {}
    for batch in batches:
        result = dg.materialize(
            [checks for checks in every_check if batch & set(checks.check_keys)],
            selection=dg.AssetSelection.checks(*batch),
            resources={"database": database},
            instance=instance,
        )
        found |= {evaluation.asset_check_key: evaluation for evaluation in result.get_asset_check_evaluations()}

    assert found.keys() == keys
    for key, evaluation in found.items():
        message = evaluation.description
        assert not evaluation.passed, key
        assert re.search(failure.found, message), message
        assert re.search(failure.expected, message), message
        assert IMPERATIVE.search(message), message
        # What the office reads too is there in both languages.
        languages = 2 if "ください" in message else 1
        assert len(re.findall(r"[.。](?= |$)", message)) <= 2 * languages, message
