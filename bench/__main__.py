"""`python -m bench`: measures, prints two tables, and writes JSON, plot and the tables of the documentation page."""

import platform
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from bench import data, detail, intake, live, old_way, plot, reads, refreshing, report, upkeep
from bench.rivals import BenchError
from bench.stage import Options, Stage, open_stage
from mv_pipeline.database.connection import Database
from mv_pipeline.settings import PROJECT_ROOT

# Piped output has no width of its own; tables must not be cut there.
console = Console(width=None if sys.stdout.isatty() else 180)
errors = Console(stderr=True)

_QUICK = Options(
    sizes=(100_000,),
    rounds=2,
    slow_rounds=1,
    drops=2,
    file_lines=2_000,
    old_lines=1_000,
    memory_lines=10_000,
    read_seconds=0.5,
)


class Section(StrEnum):
    """What can be measured by itself."""

    REFRESH = "refresh"
    DETAIL = "detail"
    READS = "reads"
    PROOF = "proof"
    BACKFILL = "backfill"
    INTAKE = "intake"
    DROP = "drop"


def main(
    size: Annotated[
        list[int] | None,
        typer.Option(
            min=100_000, help="Measure with this many staging rows too, besides 200_000 and 2_000_000; may be repeated."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on little data; its times mean nothing.")] = False,
    only: Annotated[
        str, typer.Option(help=f"Only these sections, with commas between them: {', '.join(Section)}.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Write results below this folder; by default here, but only those of a whole run."),
    ] = None,
) -> None:
    """Measure ours and its rivals on the same data, side by side."""
    options = _QUICK if quick else Options(sizes=tuple(sorted({*Options.sizes, *(size or [])})))
    try:
        sections = [Section(name.strip()) for name in only.split(",")] if only else list(Section)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    results = report.Results()
    with errors.status("") as status:
        started = time.monotonic()

        def say(text: str) -> None:
            shown = f"{time.monotonic() - started:4.0f} s  {text}"
            if errors.is_terminal:
                status.update(shown)
            else:
                errors.print(shown)

        try:
            with open_stage(options, results, say) as stage:
                _measure(stage, sections)
        except BenchError as error:
            errors.print(str(error), style="red", markup=False)
            raise typer.Exit(1) from None
    console.print(report.results_table(results))
    console.print(report.goals_table(results))
    if out is None and (quick or len(sections) < len(Section)):
        errors.print("Not a whole run, so nothing was written; --out says where to.")
        return
    folder = out or PROJECT_ROOT
    report.write(results, folder)
    plot.draw(results, folder / "docs" / "benchmark.svg")


def _measure(stage: Stage, sections: list[Section]) -> None:
    with psycopg.connect(stage.settings.resolved_database_url()) as connection:
        version = connection.info.server_version
    stage.results.versions |= {
        "PostgreSQL": f"{version // 10_000}.{version % 10_000}",
        "Python": platform.python_version(),
        "pandas": old_way.VERSION,
    }
    databases: dict[int, Database] = {}
    if {Section.REFRESH, Section.DETAIL, Section.READS, Section.PROOF, Section.BACKFILL} & set(sections):
        for rows in stage.options.sizes:
            stage.say(f"a history of {rows:,} rows")
            databases[rows] = stage.create_database(f"history_{rows}")
            with databases[rows].connect() as connection:
                data.fill_history(connection, stage.catalog, rows)
    for section in sections:
        if section is Section.REFRESH:
            refreshing.run(stage, databases)
        elif section is Section.DETAIL:
            detail.run(stage, databases)
        elif section is Section.READS:
            largest = max(databases)
            reads.run(stage, largest, databases[largest])
        elif section is Section.PROOF:
            upkeep.prove(stage, databases)
        elif section is Section.BACKFILL:
            smallest = min(databases)
            upkeep.backfill(stage, smallest, databases[smallest])
    for rows in databases:
        stage.drop_database(f"history_{rows}")
    if Section.INTAKE in sections:
        intake.run(stage)
    if Section.DROP in sections:
        live.run(stage)


if __name__ == "__main__":
    typer.run(main)
