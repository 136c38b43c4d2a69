"""The plot of the documentation page."""

from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.report import CHAIN, COPY, DBT, END_TO_END, FULL, INTAKE, OLD_INTAKE, OLD_WAY, ONE_DAY, OURS, Results

_VIEW_LINES = {
    (ONE_DAY, FULL): ("#b2182b", "o"),
    (END_TO_END, OLD_WAY): ("#ef8a62", "s"),
    (ONE_DAY, DBT): ("#67a9cf", "^"),
    (CHAIN, OURS): ("#5aae61", "v"),
    (ONE_DAY, OURS): ("#1b7837", "o"),
}
_INTAKE_BARS = {COPY: "#999999", OURS: "#1b7837", OLD_INTAKE: "#ef8a62"}


def draw(results: Results, path: Path) -> None:
    """Draw what the views cost at each size, and what the intake costs, both on logarithmic scales, as SVG."""
    pyplot.rcParams.update(
        {"svg.hashsalt": "mv_pipeline", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, (views, intake) = pyplot.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    _draw_views(results, views)
    _draw_intake(results, intake)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _draw_views(results: Results, axes: Axes) -> None:
    for (line, who), (colour, marker) in _VIEW_LINES.items():
        points = sorted(
            (m.size, m.median) for m in results.measurements if (m.line, m.who) == (line, who) and m.size and m.values
        )
        if points:
            label = f"{who}: {line}" if who == OURS else who
            axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=label)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    axes.set(xlabel="staging rows", ylabel="seconds", title="After a one-day upload")
    axes.grid(alpha=0.2)


def _draw_intake(results: Results, axes: Axes) -> None:
    bars = [m for who in _INTAKE_BARS if (m := results.find(INTAKE, who))]
    if not bars:
        return
    drawn = axes.barh(
        [m.who.replace(": ", ":\n").replace(" into ", "\ninto ") for m in bars],
        [m.median for m in bars],
        color=[_INTAKE_BARS[m.who] for m in bars],
    )
    axes.bar_label(drawn, [f" {m.median:.2g} s" if m.median < 10 else f" {m.median:.0f} s" for m in bars])
    axes.set(xscale="log", xlabel="seconds", title=f"Intake of {bars[0].size:,} lines")
    axes.invert_yaxis()
    axes.margins(x=0.25)
