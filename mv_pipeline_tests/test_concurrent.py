"""Whoever writes, rolls up, refreshes and reads at the same time: each read is right in its own snapshot."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Rollup
from mv_pipeline.checks.recompute import compare_rollup, compare_view
from mv_pipeline.database.connection import Connection, Database, identifier, scalar
from mv_pipeline.refresh.rollup import fresh_rows, owe_days, update_rollup
from mv_pipeline.refresh.views import prune_change_log, refresh_view
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import LONG, create_database, drop_database
from mv_pipeline_tests.factory import bring_up_to_date

DAYS = [date(2025, 11, 28) + timedelta(days=number) for number in range(6)]
# For each of two readers; a minute on two cores.
READS = 15_000 if LONG else 60
# What is inserted is deleted again, so that the reads at the end take no longer than those at the beginning.
WRITES = [
    "INSERT INTO stg.{table} (slip_date, net_weight, amount) SELECT %(day)s, n, n FROM generate_series(1, %(n)s) AS n",
    "UPDATE stg.{table} SET net_weight = net_weight + 1 WHERE slip_date = %(day)s",
    "UPDATE stg.{table} SET slip_date = %(to)s WHERE slip_date = %(day)s",
    "UPDATE stg.{table} SET is_deleted = NOT is_deleted WHERE slip_date = %(day)s",
    "DELETE FROM stg.{table} WHERE slip_date = %(day)s",
    "INSERT INTO stg.receive_king_final (invoice_date, invoice_no, vehicle_type_code, net_weight_detail) "
    "VALUES (%(day)s::text, 1, 1, %(n)s)",
    "DELETE FROM stg.receive_king_final WHERE invoice_date = %(day)s::text",
    "INSERT INTO ref.calendar_exception (ddate, override_type) VALUES (%(day)s, 'FORCE_OPEN') "
    "ON CONFLICT (ddate) DO UPDATE SET override_type = 'FORCE_CLOSED'",
    "DELETE FROM ref.calendar_exception WHERE ddate = %(day)s",
]
TABLES = ["shogun_final_receive", "shogun_flash_receive", "shogun_flash_yard", "shogun_final_yard"]


@pytest.fixture
def busy(server: Settings, grains_template: str) -> Iterator[Database]:
    url = create_database(server, grains_template)
    yield Database(url=url)
    drop_database(server, url)


def write(connection: Connection, chance: random.Random) -> None:
    """One transaction of one to three statements; a third of them are rolled back."""
    with connection.transaction(force_rollback=chance.random() < 0.3):
        for _ in range(chance.randint(1, 3)):
            statement = chance.choice(WRITES).format(table=chance.choice(TABLES))
            day, to = chance.choice(DAYS), chance.choice(DAYS)
            connection.execute(statement, {"day": day, "to": to, "n": chance.randint(1, 9)})  # type: ignore[arg-type]


def roll_up(connection: Connection, chance: random.Random, catalog: Catalog) -> None:
    rollup = chance.choice(catalog.rollups)
    with connection.transaction():
        if chance.random() < 0.1:
            owe_days(connection, rollup, [chance.choice([None, *DAYS])])
        update_rollup(connection, rollup)
    prune_change_log(connection)


def refresh(connection: Connection, chance: random.Random, catalog: Catalog) -> None:
    """As others do, or as we do."""
    view = chance.choice(catalog.materialized_views)
    if chance.random() < 0.5:
        connection.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {view.name}")  # type: ignore[arg-type]
    else:
        refresh_view(connection, view)


def test_every_read_is_right_in_its_own_snapshot(busy: Database, grains: Catalog, tally: Counter[str]) -> None:
    done = threading.Event()

    def repeat(name: str, seed: int, act: Callable[[Connection, random.Random], None]) -> None:
        chance = random.Random(seed)
        with busy.connect(name) as connection:
            while not (done.is_set() and tally[name]):
                try:
                    act(connection, chance)
                    tally[name] += 1
                except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                    tally[f"{name}, refused"] += 1

    def read(seed: int) -> dict[str, int]:
        wrong: Counter[str] = Counter()
        with busy.connect("reader") as connection:
            for number in range(READS):
                rollup = grains.rollups[(seed + number) % len(grains.rollups)]
                # One statement has one snapshot, for what is read and for what it is compared with.
                wrong[rollup.name] += compare_rollup(connection, rollup).rows
                tally["reads compared"] += 1
        return +wrong

    with ThreadPoolExecutor(max_workers=7) as pool:
        others = [
            pool.submit(repeat, "writes", 1, write),
            pool.submit(repeat, "writes", 2, write),
            pool.submit(repeat, "updates", 3, lambda connection, chance: roll_up(connection, chance, grains)),
            pool.submit(repeat, "updates", 4, lambda connection, chance: roll_up(connection, chance, grains)),
            pool.submit(repeat, "refreshes", 5, lambda connection, chance: refresh(connection, chance, grains)),
        ]
        try:
            assert [*pool.map(read, (0, 7))] == [{}, {}]
        finally:
            done.set()
        for other in others:
            other.result()

    assert min(tally[name] for name in ("writes", "updates", "refreshes")) > 0
    with busy.connect("at last") as connection:
        bring_up_to_date(connection, grains)
        assert {rollup.name: differing_stored_rows(connection, rollup) for rollup in grains.rollups} == dict.fromkeys(
            [rollup.name for rollup in grains.rollups], 0
        )
        views = grains.materialized_views
        assert [view.name for view in views if compare_view(connection, view).rows] == []


def differing_stored_rows(connection: Connection, rollup: Rollup) -> int:
    """How many of the stored rows themselves aren't what is computed."""
    columns = sql.SQL(", ").join(map(sql.Identifier, rollup.output))
    stored = sql.SQL("SELECT {} FROM {}").format(columns, identifier(rollup.stored))
    differing = sql.SQL("SELECT count(*) FROM (({a} EXCEPT ALL {b}) UNION ALL ({b} EXCEPT ALL {a})) AS rows")
    return int(scalar(connection, differing.format(a=stored, b=fresh_rows(rollup)), []))
