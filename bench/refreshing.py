"""Section `refresh`: what it takes until mv_receive_daily is up to date, at every size, against the rivals.

Ours and the rivals take turns within a round, and so do the sizes, so that a slow minute of the machine is everyone's.
After every round the rivals' rows are held against ours.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from bench import data, old_way, ours, rivals
from bench.report import CHAIN, DBT, DBT_STATEMENT, END_TO_END, FULL, NO_NEWS, OLD_WAY, ONE_DAY, OURS, THIRTY_DAYS
from bench.stage import RECEIVE_KIND, Stage, stopwatch
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Connection, Database

SECTION = "Refresh"
_MANY_DAYS = 30


@dataclass
class _Site:
    """One size's database, and what was measured on it."""

    rows: int
    connection: Connection
    engine: Engine
    times: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def run(stage: Stage, databases: dict[int, Database]) -> None:
    """Measure on databases that hold a history, by size."""
    try:
        stage.say("installing dbt")
        dbt: rivals.Dbt | None = rivals.install_dbt()
        missing = ""
    except rivals.NotInstalledError as error:
        dbt, missing = None, f"not installed: {error}"
    if dbt:
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
                _round(stage, site, dbt if number < stage.options.slow_rounds else None, number)
    for site in sites:
        for line, who in _order():
            if who == DBT and dbt is None:
                stage.results.add(SECTION, line, who, [], size=site.rows, note=missing)
            elif site.times[line, who]:
                stage.results.add(SECTION, line, who, site.times[line, who], size=site.rows)


def _order() -> Iterator[tuple[str, str]]:
    yield from ((ONE_DAY, who) for who in (OURS, FULL, DBT, DBT_STATEMENT))
    yield CHAIN, OURS
    yield from ((END_TO_END, who) for who in (OURS, OLD_WAY))
    yield from ((line, who) for line in (THIRTY_DAYS, NO_NEWS) for who in (OURS, FULL))


def _prepare(stage: Stage, site: _Site, dbt: rivals.Dbt | None) -> None:
    """Create the rivals' views, and let each side do once, unmeasured, what is measured later."""
    stage.say(f"the rivals' views, {site.rows:,} rows")
    rivals.create_full_view(site.connection)
    old_way.create_tables(site.connection, find_kind(RECEIVE_KIND))
    rivals.refresh_full_view(site.connection)
    if dbt:
        dbt.run(site.connection)
    ours.take(stage, site.connection, _put(stage, _write(stage, site, 1, 0)))
    ours.refresh_receive_daily(stage.catalog, site.connection)
    ours.refresh_rest(stage.catalog, site.connection)


def _round(stage: Stage, site: _Site, dbt: rivals.Dbt | None, number: int) -> None:
    connection, times = site.connection, site.times
    source = _write(stage, site, 1, 2 * number + 1)
    path = _put(stage, source)
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
        rivals.refresh_full_view(connection)
    with stopwatch(times[END_TO_END, OLD_WAY]):
        old_way.take(site.engine, find_kind(RECEIVE_KIND), source)
        rivals.refresh_full_view(connection, concurrently=False)
    if dbt:
        with stopwatch(times[ONE_DAY, DBT]):
            seconds = dbt.run(connection)
        times[ONE_DAY, DBT_STATEMENT].append(seconds)
        rivals.compare_with_ours(connection, rivals.DBT_VIEW)
    rivals.compare_with_ours(connection, rivals.FULL_VIEW)

    with stopwatch(times[NO_NEWS, OURS]):
        news = ours.refresh_receive_daily(stage.catalog, connection)
    _insist(not news, "there was no news")
    with stopwatch(times[NO_NEWS, FULL]):
        rivals.refresh_full_view(connection)

    ours.take(stage, connection, _put(stage, _write(stage, site, _MANY_DAYS, 2 * number + 2)))
    with stopwatch(times[THIRTY_DAYS, OURS]):
        news = ours.refresh_receive_daily(stage.catalog, connection)
    _insist(news, "there was news")
    ours.refresh_rest(stage.catalog, connection)
    with stopwatch(times[THIRTY_DAYS, FULL]):
        rivals.refresh_full_view(connection)
    rivals.compare_with_ours(connection, rivals.FULL_VIEW)


def _write(stage: Stage, site: _Site, days: int, seed: int) -> Path:
    """Write a file of the newest days, outside of the inbox."""
    folder = stage.settings.home / "files"
    folder.mkdir(exist_ok=True)
    path = folder / f"{site.rows}-{days}-{seed}.csv"
    return data.write_receive_file(path, data.recent_days(days), data.LINES_PER_DAY, seed)


def _put(stage: Stage, path: Path) -> Path:
    """Put a copy of a file into the inbox, and return the copy's path."""
    return Path(shutil.copy(path, stage.settings.inbox_dir / RECEIVE_KIND))


def _insist(fact: bool, what: str) -> None:
    if not fact:
        raise rivals.BenchError(f"Something else was measured than {what}.")
