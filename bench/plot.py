"""The plot of the documentation page."""

from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.report import (
    CHAIN,
    COPY,
    DBT,
    DBT_INCREMENTAL,
    DETAIL,
    END_TO_END,
    FULL,
    INTAKE,
    OLD_INTAKE,
    OLD_WAY,
    ONE_DAY,
    OURS,
    SQLMESH,
    Results,
)

_RED, _ORANGE, _BLUE, _PURPLE, _GREEN, _LIGHT_GREEN = "#b2182b", "#ef8a62", "#67a9cf", "#8073ac", "#1b7837", "#5aae61"
_VIEW_LINES = {
    (ONE_DAY, FULL): (_RED, "o"),
    (END_TO_END, OLD_WAY): (_ORANGE, "s"),
    (ONE_DAY, DBT): (_BLUE, "^"),
    (CHAIN, OURS): (_LIGHT_GREEN, "v"),
    (ONE_DAY, OURS): (_GREEN, "o"),
}
_DETAIL_LINES = {
    (DETAIL, SQLMESH): (_PURPLE, "s"),
    (DETAIL, DBT_INCREMENTAL): (_BLUE, "^"),
    (DETAIL, FULL): (_RED, "o"),
    (DETAIL, OURS): (_GREEN, "o"),
}
_INTAKE_BARS = {COPY: "#999999", OURS: _GREEN, OLD_INTAKE: _ORANGE}


def draw(results: Results, path: Path) -> None:
    """Draw what views and a rollup cost at each size, and what an intake does, on logarithmic scales, as SVG."""
    pyplot.rcParams.update(
        {"svg.hashsalt": "mv_pipeline", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, (views, detail, intake) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    _draw_lines(results, views, _VIEW_LINES, "mv_receive_daily after a one-day upload")
    _draw_lines(results, detail, _DETAIL_LINES, "A large rollup after a one-day upload")
    _draw_intake(results, intake)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _draw_lines(results: Results, axes: Axes, lines: dict[tuple[str, str], tuple[str, str]], title: str) -> None:
    for (line, who), (colour, marker) in lines.items():
        points = sorted(
            (m.size, m.median) for m in results.measurements if (m.line, m.who) == (line, who) and m.size and m.values
        )
        if points:
            label = f"{who}: {line}" if who == OURS else who
            axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=label)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    axes.set(xlabel="staging rows", ylabel="seconds", title=title)
    axes.grid(alpha=0.2)


def _draw_intake(results: Results, axes: Axes) -> None:
    speeds = {who: m.size / m.median for who in _INTAKE_BARS if (m := results.find(INTAKE, who)) and m.size}
    if not speeds:
        return
    drawn = axes.barh(
        [who.replace(": ", ":\n").replace(" into ", "\ninto ") for who in speeds],
        list(speeds.values()),
        color=[_INTAKE_BARS[who] for who in speeds],
    )
    axes.bar_label(drawn, [f" {speed:,.0f}" for speed in speeds.values()])
    axes.set(xscale="log", xlabel="lines a second", title="Intake of a file")
    axes.invert_yaxis()
    axes.margins(x=0.25)
