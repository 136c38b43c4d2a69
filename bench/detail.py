"""Section `detail`: a rollup of 279,000 groups after a one-day upload, against the rivals.

It is the benchmark's own, by day, customer, item and vendor (`sql/mart/rollup_detail.sql`); a migration adds it to
databases that are full already. With fewer than two million rows it has fewer groups.
"""

import shutil
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date

from bench import data, ours, rivals, tools
from bench.report import (
    DBT_INCREMENTAL,
    DBT_STATEMENTS,
    DETAIL,
    FULL,
    OURS,
    OURS_WITH_INTAKE,
    SQLMESH,
    SQLMESH_STATEMENTS,
)
from bench.stage import Stage, stopwatch
from mv_pipeline.catalog.relations import Catalog, Rollup
from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.database.connection import Connection, Database, scalar
from mv_pipeline.migrate.migrate import migrate

SECTION = "Rollup by customer, item and vendor"
_ROLLUP = "mart.rollup_detail"
_FULL_VIEW = "bench.detail"
_DBT_VIEW = "bench_dbt.detail"
_SQLMESH_VIEW = "bench_sqlmesh.detail"
_PLAN = ("plan", "--auto-apply", "--no-prompts", "--no-diff", "--skip-tests")
# A day for each round, of which no other section has a file.
_DAYS = data.recent_days(40)[:10]


@dataclass
class _Site:
    """One size's database, and what was measured on it."""

    rows: int
    connection: Connection
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def run(stage: Stage, databases: dict[int, Database]) -> None:
    """Measure on databases that hold a history, by size; what is ours is up to date afterwards."""
    stage.say("installing dbt and SQLMesh")
    dbt, sqlmesh = tools.install("dbt"), tools.install("sqlmesh")
    stage.results.versions |= dbt.versions | sqlmesh.versions
    catalog = _catalog(stage)
    rollup = catalog.relations[_ROLLUP]
    assert isinstance(rollup, Rollup)
    with ExitStack() as stack:
        sites = [_Site(rows, stack.enter_context(database.connect())) for rows, database in databases.items()]
        for site in sites:
            stage.say(f"the rollup of groups, {site.rows:,} rows")
            migrate(databases[site.rows], catalog)
            rivals.create_view(site.connection, _FULL_VIEW, rollup.query, rollup.key)
            # Each side's first time isn't measured: the tools create their tables and fill their caches.
            if not sqlmesh.missing:
                sqlmesh.run(site.connection, "detail", *_PLAN)
            _run_ours(stage, site, rollup, _DAYS[0])
            _run_rivals(site, dbt, sqlmesh, _DAYS[0])
            site.times.clear()
            site.connection.execute("VACUUM (ANALYZE)")
        for number, day in enumerate(_DAYS[1 : stage.options.rounds + 1]):
            for site in sites:
                stage.say(f"the rollup of groups, {site.rows:,} rows, round {number + 1}")
                _run_ours(stage, site, rollup, day)
                if number < stage.options.slow_rounds:
                    _run_rivals(site, dbt, sqlmesh, day)
                    _compare(site, rollup, dbt, sqlmesh)
        missing = dict.fromkeys((DBT_INCREMENTAL, DBT_STATEMENTS), dbt.missing)
        missing |= dict.fromkeys((SQLMESH, SQLMESH_STATEMENTS), sqlmesh.missing)
        for site in sites:
            groups = scalar(site.connection, f"SELECT count(*) FROM {_ROLLUP}")
            stage.results.add(SECTION, DETAIL, OURS, site.times[OURS], size=site.rows, note=f"{groups:,} groups")
            for who in (OURS_WITH_INTAKE, FULL, *missing):
                stage.results.add(SECTION, DETAIL, who, site.times[who], size=site.rows, note=missing.get(who, ""))
            ours.refresh_receive_daily(stage.catalog, site.connection)
            ours.refresh_rest(stage.catalog, site.connection)


def _catalog(stage: Stage) -> Catalog:
    """The project's SQL files and the benchmark's own."""
    folder = stage.settings.home / "sql"
    for sql_dir in (stage.settings.sql_dir, rivals.HERE / "sql"):
        shutil.copytree(sql_dir, folder, dirs_exist_ok=True)
    return load_catalog(folder)


def _run_ours(stage: Stage, site: _Site, rollup: Rollup, day: date) -> None:
    path = data.put(stage, data.write_days(stage, [day], 1))
    with stopwatch(site.times[OURS_WITH_INTAKE]):
        ours.take(stage, site.connection, path)
        with stopwatch(site.times[OURS]):
            ours.roll_up(site.connection, rollup)


def _run_rivals(site: _Site, dbt: tools.Tool, sqlmesh: tools.Tool, day: date) -> None:
    """Run each rival; the tools are told which day has changed."""
    connection, times = site.connection, site.times
    with stopwatch(times[FULL]):
        rivals.refresh(connection, _FULL_VIEW)
    if not dbt.missing:
        with stopwatch(times[DBT_INCREMENTAL]):
            seconds = dbt.run(connection, "detail", "run", "--select", "detail", "--vars", f'{{days: "{day}"}}')
        times[DBT_STATEMENTS].append(seconds)
    if not sqlmesh.missing:
        days = ("--start", str(day), "--end", str(day))
        with stopwatch(times[SQLMESH]):
            seconds = sqlmesh.run(connection, "detail", *_PLAN, "--restate-model", _SQLMESH_VIEW, *days)
        times[SQLMESH_STATEMENTS].append(seconds)


def _compare(site: _Site, rollup: Rollup, dbt: tools.Tool, sqlmesh: tools.Tool) -> None:
    rows = f"SELECT {', '.join(rollup.output)} FROM {_ROLLUP}"
    rivals.compare_with_ours(site.connection, _FULL_VIEW, rows)
    for tool, view in ((dbt, _DBT_VIEW), (sqlmesh, _SQLMESH_VIEW)):
        if not tool.missing:
            rivals.compare_with_ours(site.connection, view, rows)
