"""Receive tons by source for the last 60 days, and each month's share of final and flash (mart.mv_receive_daily)."""

from typing import Any

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection, read_query
from mv_pipeline.defs.pictures._style import ACTUAL, FAINT, WARM, new_figure, place_legend

_SOURCES = {
    "shogun_final": (ACTUAL, "最終 final"),
    "shogun_flash": (WARM, "速報 flash"),
    "king": (FAINT, "king"),
}


def read(connection: Connection, unit: str, span: str) -> list[tuple[Any, ...]]:
    """Read for each day or month and each of its sources the tons, and their share of that day's or month's tons (%).

    Args:
        unit: `day` or `month`.
        span: an interval: how long before yesterday's day or month they begin.
    """
    return connection.execute(
        read_query(__file__, "receive_tons"),
        {"unit": unit, "span": span},
    ).fetchall()


def draw(connection: Connection) -> Figure:
    """Draw both panels."""
    days, months = read(connection, "day", "59 days"), read(connection, "month", "11 months")
    figure, (daily, monthly) = new_figure("受入トン数（データ源別）  Receive tons by source", 2)
    daily.xaxis_date()
    bottoms = {month: 0.0 for month, *_ in months}
    for source, (color, label) in _SOURCES.items():
        tons = {day: tons for day, of, tons, _ in days if of == source}
        daily.bar(list(tons), list(tons.values()), color=color, label=label)
        shares = dict.fromkeys(bottoms, 0.0) | {month: share for month, of, _, share in months if of == source}
        labels = [f"{month:%Y-%m}" for month in shares]
        monthly.bar(labels, list(shares.values()), bottom=list(bottoms.values()), color=color)
        bottoms = {month: bottoms[month] + share for month, share in shares.items()}
    daily.set_title("直近60日  last 60 days")
    place_legend(daily)
    monthly.set_title("月ごとの割合（%）  share per month")
    monthly.set_ylim(0, 100)
    monthly.tick_params(axis="x", labelsize=7)
    return figure
