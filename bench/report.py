"""What was measured: kept, judged against the goals, and shown as table, JSON and page.

Nothing is measured here; the plot is `plot`'s.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from rich import box
from rich.table import Table

OURS = "ours"
FULL = "full REFRESH CONCURRENTLY"
OLD_WAY = "old way: pandas + full REFRESH"
OURS_WITH_INTAKE = "ours, the file's intake included"
DBT = "dbt run, materialized_view"
DBT_INCREMENTAL = "dbt run, incremental"
DBT_STATEMENTS = "dbt, its statements alone"
SQLMESH = "sqlmesh plan, restating the day"
SQLMESH_STATEMENTS = "SQLMesh, its statements alone"
EVERY_SECOND = "ours, a day uploaded every second"
SALES_LINES = "before: from the lines"
COPY = "bare COPY into text columns"
PLAIN = "full REFRESH, not concurrently"
OLD_INTAKE = "old way: pandas to_sql into raw and stg"

ONE_DAY = "mv_receive_daily fresh after one day"
CHAIN = "all views fresh after one day"
THIRTY_DAYS = "mv_receive_daily fresh after 30 days"
NO_NEWS = "mv_receive_daily, nothing new"
BY_ANYBODY = "mv_receive_daily, REFRESH by anybody after two days"
WAITING = "the same, two days not yet rolled up"
DETAIL = "rollup fresh after one day"
END_TO_END = "one day's file to fresh mv_receive_daily"
INTAKE = "file into raw, stg and log"
SILENT = "the same without the change log (triggers off)"
REPLACE = "the same days again"
GOOD_AMONG_MANY = "file into tables that hold earlier uploads"
REJECTED = "the same with 10,000 bad cells, rejected"
MEMORY = "peak memory of the process"
DROP_VIEW = "drop to mv_receive_daily"
DROP_ALL = "drop to last view"
DROP_THREE = "three files at once to last view"
RUNS = "runs for three files dropped at once"
READS = "p99 of a point query"
ONE_MONTH = "v_customer_sales_daily, one month"
ALL_YEARS = "v_customer_sales_daily, all years"
PROOF = "rollups and views against a full recompute"
BACKFILL = "five years derived from raw, stg empty"
BACKFILL_SAME = "five years derived from raw, nothing differs"

IDLE = "idle"

_MARKS = ("<!-- results: begin -->", "<!-- results: end -->")
_GB = 1e9
_ENOUGH_FOR_P95 = 10


@dataclass(frozen=True)
class Measurement:
    """One line of the table: what was measured, for whom, and each round's value.

    Args:
        section: the part of the benchmark.
        line: what was done.
        who: ours or a rival.
        size: staging rows, or lines of a file; None: it doesn't depend on any.
        unit: `s`, `bytes` or `runs`.
        values: one per round; empty: it could not be measured, and `note` says why.
        note: what a reader has to know.
    """

    section: str
    line: str
    who: str
    size: int | None
    unit: str
    values: list[float]
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """The 95th percentile of the rounds."""
        return percentile(self.values, 95)


@dataclass(frozen=True)
class Goal:
    """One goal and what came of it; `met` is None if it wasn't measured in this run."""

    name: str
    wanted: str
    measured: str
    met: bool | None


@dataclass
class Results:
    """The measurements of one run, in the order in which they were made."""

    versions: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def add(
        self,
        section: str,
        line: str,
        who: str,
        values: Sequence[float],
        *,
        size: int | None = None,
        unit: str = "s",
        note: str = "",
    ) -> None:
        """Keep a measurement."""
        self.measurements.append(Measurement(section, line, who, size, unit, list(values), note))

    def find(self, line: str, who: str = OURS, size: int | None = None) -> Measurement | None:
        """The measurement of that line; without a size, of the largest that there is."""
        found = [m for m in self.measurements if (m.line, m.who) == (line, who) and m.values and size in (None, m.size)]
        return max(found, key=lambda m: m.size or 0, default=None)

    def sizes(self, line: str) -> list[int]:
        """The sizes at which a line was measured for us, ascending."""
        return sorted({m.size for m in self.measurements if (m.line, m.who) == (line, OURS) and m.size and m.values})


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile between the closest two values."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def goals(results: Results) -> list[Goal]:
    """Judge the run by the goals."""
    return list(_goals(results))


def _goals(results: Results) -> Iterator[Goal]:
    for line, factors in ((ONE_DAY, (100, 1000)), (DETAIL, (500, 4000))):
        for size, factor in zip((2_000_000, 20_000_000), factors, strict=True):
            full, ours = results.find(line, FULL, size), results.find(line, OURS, size)
            yield _ratio_goal(f"{line}, {_rows(size)}: {FULL} ÷ ours", full, ours, at_least=factor)
        sizes = results.sizes(line)
        largest, smallest = (
            (results.find(line, OURS, end) for end in (sizes[-1], sizes[0])) if sizes[1:] else (None, None)
        )
        span = f"{_rows(sizes[-1])} ÷ {_rows(sizes[0])}" if sizes[1:] else "largest ÷ smallest size"
        yield _ratio_goal(f"{line}, our own cost: {span}", largest, smallest, at_most=1.3)
    yield _ratio_goal(
        "REFRESH of mv_receive_daily by anybody: two days not yet rolled up ÷ rolled up",
        results.find(WAITING),
        results.find(BY_ANYBODY),
        at_most=1.3,
    )
    ours, with_intake = results.find(DETAIL), results.find(DETAIL, OURS_WITH_INTAKE)
    for command, statements in ((DBT_INCREMENTAL, DBT_STATEMENTS), (SQLMESH, SQLMESH_STATEMENTS)):
        theirs = results.find(DETAIL, command)
        yield _ratio_goal(f"{DETAIL}: {command} ÷ {OURS_WITH_INTAKE}", theirs, with_intake, at_least=50)
        yield _ratio_goal(f"{DETAIL}: ours ÷ {statements}", ours, results.find(DETAIL, statements), at_most=1.5)
    yield _ratio_goal("intake: ours ÷ bare COPY", results.find(INTAKE), results.find(INTAKE, COPY), at_most=6)
    old = results.find(INTAKE, OLD_INTAKE)
    same = results.find(INTAKE, OURS, old.size) if old else None
    yield _ratio_goal("intake: old way ÷ ours", old, same, at_least=60)
    yield _ratio_goal(
        "intake: a file with 10,000 bad cells ÷ the same file without them",
        results.find(REJECTED),
        results.find(GOOD_AMONG_MANY),
        at_most=3,
    )
    memory = results.find(MEMORY)
    yield _limit_goal(
        f"peak memory of the intake of a file{f', {memory.size:,} lines' if memory else ''}",
        memory.median / _GB if memory else None,
        1,
        " GB",
    )
    drop = results.find(DROP_ALL)
    yield _limit_goal("drop → last view fresh, median", drop.median if drop else None, 5, " s")
    yield _limit_goal("drop → last view fresh, p95", drop.p95 if drop else None, 8, " s")
    runs = results.find(RUNS)
    yield _limit_goal("runs for three files dropped at once", runs.median if runs else None, 1, "")
    every_second, idle = results.find(READS, EVERY_SECOND), results.find(READS, IDLE)
    yield _ratio_goal(f"{READS}: a day uploaded every second ÷ idle", every_second, idle, at_most=1.5)


def _ratio_goal(
    name: str,
    above: Measurement | None,
    below: Measurement | None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Goal:
    wanted = f"≥ {at_least:g} ×" if at_least else f"≤ {at_most:g} ×"
    if above is None or below is None:
        return Goal(name, wanted, "not measured", None)
    ratio = above.median / below.median
    return Goal(name, wanted, f"{_digits(ratio)} ×", ratio >= at_least if at_least else ratio <= (at_most or 0))


def _limit_goal(name: str, value: float | None, limit: float, unit: str) -> Goal:
    if value is None:
        return Goal(name, f"≤ {limit:g}{unit}", "not measured", None)
    return Goal(name, f"≤ {limit:g}{unit}", f"{_digits(value)}{unit}", value <= limit)


# What a run looks like


def results_table(results: Results) -> Table:
    """The measurements as a table for the terminal."""
    table = Table(title="Benchmark", box=box.SIMPLE)
    for heading in _RESULT_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("what", "who") else "right")
    for section, rows in _result_rows(results):
        table.add_row(f"[bold]{section}")
        for row in rows:
            table.add_row(*row)
        table.add_section()
    return table


def goals_table(results: Results) -> Table:
    """The goals as a table for the terminal."""
    table = Table(title="Goals", box=box.SIMPLE)
    for heading in ("goal", "wanted", "measured", ""):
        table.add_column(heading, justify="right" if heading in ("wanted", "measured") else "left")
    colours = {True: "green", False: "red", None: "dim"}
    for goal in goals(results):
        table.add_row(goal.name, goal.wanted, goal.measured, f"[{colours[goal.met]}]{_VERDICTS[goal.met]}")
    return table


_RESULT_HEADINGS = ("what", "who", "rows", "median", "p95", "min – max", "rounds", "÷ ours")
_VERDICTS = {True: "met", False: "missed", None: "not measured"}


def _result_rows(results: Results) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    sections: dict[str, list[Measurement]] = {}
    for measurement in results.measurements:
        sections.setdefault(measurement.section, []).append(measurement)
    for section, measurements in sections.items():
        places = {place: number for number, place in enumerate(dict.fromkeys((m.line, m.size) for m in measurements))}
        rows: list[tuple[str, ...]] = []
        # Rivals that were measured in another order come right after what they compete with.
        for m in sorted(measurements, key=lambda m: places[m.line, m.size]):
            size = f"{m.size:,}" if m.size else ""
            if not m.values:
                rows.append((m.line, m.who, size, "–", "", m.note, "0", ""))
                continue
            ours = next((o for o in measurements if (o.line, o.size, o.who) == (m.line, m.size, OURS)), None)
            ratio = f"{_digits(m.median / ours.median)} ×" if ours and ours.values and m is not ours else ""
            spread = f"{_quantity(min(m.values), m.unit)} – {_quantity(max(m.values), m.unit)}"
            rows.append(
                (
                    m.line,
                    f"{m.who} ({m.note})" if m.note else m.who,
                    size,
                    _quantity(m.median, m.unit),
                    _quantity(m.p95, m.unit) if len(m.values) >= _ENOUGH_FOR_P95 else "",
                    spread if len(m.values) > 1 else "",
                    str(len(m.values)),
                    ratio,
                )
            )
        yield section, rows


def write(results: Results, folder: Path) -> None:
    """Write `bench/results.json` and, if that page exists, the tables in `docs/benchmark.md` below a folder."""
    json_path = folder / "bench" / "results.json"
    json_path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine(),
        "versions": results.versions,
        "goals": [asdict(goal) for goal in goals(results)],
        "measurements": [
            asdict(m) | ({"median": m.median, "p95": m.p95} if m.values else {}) for m in results.measurements
        ],
    }
    json_path.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page = folder / "docs" / "benchmark.md"
    if page.exists():
        before, _, rest = page.read_text(encoding="utf-8").partition(_MARKS[0])
        after = rest.partition(_MARKS[1])[2]
        page.write_text(f"{before}{_MARKS[0]}\n{_markdown(results)}{_MARKS[1]}{after}", encoding="utf-8")


def machine() -> dict[str, str | int]:
    """What kind of machine this is, without saying which one."""
    return {
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _markdown(results: Results) -> str:
    lines = ["### Goals", "", "| goal | wanted | measured | |", "|---|--:|--:|---|"]
    lines += [f"| {g.name} | {g.wanted} | {g.measured} | {_VERDICTS[g.met]} |" for g in goals(results)]
    for section, rows in _result_rows(results):
        lines += ["", f"### {section}", "", f"| {' | '.join(_RESULT_HEADINGS)} |", "|---|---|--:|--:|--:|--:|--:|--:|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    kind = machine()
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines += ["", f"{kind['cores']} cores, {kind['memory_gb']} GB of memory, {kind['system']}; {versions}.", ""]
    return "\n".join(lines)


def _rows(size: int) -> str:
    return f"{size / 1e6:g}M" if size >= 100_000 else f"{size:,}"


def _quantity(value: float, unit: str) -> str:
    if unit == "s":
        return f"{_digits(value * 1000)} ms" if value < 1 else f"{_digits(value)} s"
    if unit == "bytes":
        return f"{_digits(value / 1e6)} MB"
    return f"{value:g}"


def _digits(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"
