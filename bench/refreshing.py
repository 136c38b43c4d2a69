"""Section `refresh`: what it takes until mv_receive_daily is up to date, at every size, against the rivals.

Ours and the rivals take turns within a round, and so do the sizes, so that a slow minute of the machine is everyone's.
After every round the rivals' rows are held against ours.
"""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import Engine

from bench import data, old_way, ours, rivals, tools
from bench.report import (
    BY_ANYBODY,
    CHAIN,
    DBT,
    DBT_STATEMENTS,
    END_TO_END,
    FULL,
    NO_NEWS,
    OLD_WAY,
    ONE_DAY,
    OURS,
    THIRTY_DAYS,
    WAITING,
)
from bench.stage import RECEIVE_KIND, Stage, stopwatch
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, Database

SECTION = "Refresh"
_MANY_DAYS = 30
_ORDER = (
    *((ONE_DAY, who) for who in (OURS, FULL, DBT, DBT_STATEMENTS)),
    (CHAIN, OURS),
    *((END_TO_END, who) for who in (OURS, OLD_WAY)),
    *((THIRTY_DAYS, who) for who in (OURS, FULL)),
    (BY_ANYBODY, OURS),
    (WAITING, OURS),
    (NO_NEWS, OURS),
)


@dataclass
class _Site:
    """One size's database, and what was measured on it."""

    rows: int
    connection: Connection
    engine: Engine
    times: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def run(stage: Stage, databases: dict[int, Database]) -> None:
    """Measure on databases that hold a history, by size."""
    stage.say("installing dbt")
    dbt = tools.install("dbt")
    stage.results.versions |= dbt.versions
    with ExitStack() as stack:
        sites = [
            _Site(rows, stack.enter_context(database.connect()), old_way.engine_for(database.url))
            for rows, database in databases.items()
        ]
        for site in sites:
            _prepare(stage, site, dbt)
        for number in range(stage.options.rounds):
            for site in sites:
                stage.say(f"refresh, {site.rows:,} rows, round {number + 1}")
                _round(stage, site, dbt, number)
    for site in sites:
        for line, who in _ORDER:
            note = dbt.missing if who in (DBT, DBT_STATEMENTS) else ""
            stage.results.add(SECTION, line, who, site.times[line, who], size=site.rows, note=note)


def _prepare(stage: Stage, site: _Site, dbt: tools.Tool) -> None:
    """Create the rivals' views, and let each side do once, unmeasured, what is measured later."""
    stage.say(f"the rivals' views, {site.rows:,} rows")
    rivals.create_full_view(site.connection)
    old_way.create_tables(site.connection, find_kind(RECEIVE_KIND))
    rivals.refresh(site.connection)
    if not dbt.missing:
        _run_dbt(site, dbt)
    ours.take(stage, site.connection, data.put(stage, data.write_days(stage, data.recent_days(1), 0)))
    ours.refresh_receive_daily(stage.catalog, site.connection)
    ours.refresh_rest(stage.catalog, site.connection)


def _round(stage: Stage, site: _Site, dbt: tools.Tool, number: int) -> None:
    connection, times = site.connection, site.times
    source = data.write_days(stage, data.recent_days(1), 2 * number + 1)
    path = data.put(stage, source)
    with stopwatch(times[END_TO_END, OURS]):
        ours.take(stage, connection, path)
        with stopwatch(times[ONE_DAY, OURS]):
            news = ours.refresh_receive_daily(stage.catalog, connection)
    _insist(news, "there was news")
    rest: list[float] = []
    with stopwatch(rest):
        ours.refresh_rest(stage.catalog, connection)
    times[CHAIN, OURS].append(times[ONE_DAY, OURS][-1] + rest[0])
    with stopwatch(times[ONE_DAY, FULL]):
        rivals.refresh(connection)
    with stopwatch(times[END_TO_END, OLD_WAY]):
        old_way.take(site.engine, find_kind(RECEIVE_KIND), source)
        rivals.refresh(connection, concurrently=False)
    if number < stage.options.slow_rounds and not dbt.missing:
        with stopwatch(times[ONE_DAY, DBT]):
            seconds = _run_dbt(site, dbt)
        times[ONE_DAY, DBT_STATEMENTS].append(seconds)
        rivals.compare_with_ours(connection, rivals.DBT_VIEW)
    rivals.compare_with_ours(connection, rivals.FULL_VIEW)

    with stopwatch(times[NO_NEWS, OURS]):
        news = ours.refresh_receive_daily(stage.catalog, connection)
    _insist(not news, "there was no news")

    ours.take(stage, connection, data.put(stage, data.write_days(stage, data.recent_days(_MANY_DAYS), 2 * number + 2)))
    with stopwatch(times[THIRTY_DAYS, OURS]):
        news = ours.refresh_receive_daily(stage.catalog, connection)
    _insist(news, "there was news")
    with stopwatch(times[THIRTY_DAYS, FULL]):
        rivals.refresh(connection)
    rivals.compare_with_ours(connection, rivals.FULL_VIEW)

    # Days that no other file has, two for each of the two.
    days = iter(data.recent_days(data.RECENT_DAYS)[4 * number :])
    for line in (BY_ANYBODY, WAITING):
        path = data.write_days(stage, [next(days), next(days)], number)
        ours.take(stage, connection, data.put(stage, path))
        if line == BY_ANYBODY:
            ours.roll_up_receive_daily(stage.catalog, connection)
        with stopwatch(times[line, OURS]):
            rivals.refresh(connection, rivals.OUR_VIEW)
        # Somebody else's refresh was as right as ours, though nothing was rolled up.
        rivals.refresh(connection)
        rivals.compare_with_ours(connection, rivals.FULL_VIEW)
    ours.refresh_receive_daily(stage.catalog, connection)
    ours.refresh_rest(stage.catalog, connection)


def _run_dbt(site: _Site, dbt: tools.Tool) -> float:
    return dbt.run(site.connection, "mv_receive_daily", "run", "--select", "mv_receive_daily")


def _insist(fact: bool, what: str) -> None:
    if not fact:
        raise rivals.BenchError(f"Something else was measured than {what}.")
