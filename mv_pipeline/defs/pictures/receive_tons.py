"""Receive tons by source for the last 60 days, and each month's share of final and flash (mart.mv_receive_daily)."""

from dataclasses import dataclass
from datetime import date

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection
from mv_pipeline.defs.pictures._style import ACTUAL, FAINT, WARM, day_numbers, label_days, new_figure, place_legend

_DAYS = 60
_SOURCES = {
    "shogun_final": (ACTUAL, "最終 final"),
    "shogun_flash": (WARM, "速報 flash"),
    "king": (FAINT, "king"),
}


@dataclass(frozen=True)
class Tons:
    """Tons of one source on one day, or in one month (its first day)."""

    ddate: date
    source: str
    tons: float


def read_days(connection: Connection) -> list[Tons]:
    """The last days that have a source."""
    rows = connection.execute(
        "SELECT ddate, source_system, receive_net_ton::float FROM mart.mv_receive_daily "
        "WHERE source_system IS NOT NULL AND ddate >= ref.business_date() - %s ORDER BY ddate",
        [_DAYS],
    ).fetchall()
    return [Tons(*row) for row in rows]


def read_months(connection: Connection) -> list[Tons]:
    """The tons of each source in each of the last twelve months."""
    rows = connection.execute(
        "SELECT date_trunc('month', ddate)::date, source_system, sum(receive_net_ton)::float "
        "FROM mart.mv_receive_daily WHERE source_system IS NOT NULL "
        "AND ddate >= date_trunc('month', ref.business_date() - 1) - interval '11 months' GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    return [Tons(*row) for row in rows]


def shares(months: list[Tons], source: str) -> dict[date, float]:
    """The share of a source in each month's tons (%)."""
    totals: dict[date, float] = {}
    for month in months:
        totals[month.ddate] = totals.get(month.ddate, 0) + month.tons
    own = {month.ddate: month.tons for month in months if month.source == source}
    return {ddate: 100 * own.get(ddate, 0) / total for ddate, total in totals.items() if total}


def draw(connection: Connection) -> Figure:
    """Draw both panels."""
    days, months = read_days(connection), read_months(connection)
    figure, (daily, monthly) = new_figure("受入トン数（データ源別）  Receive tons by source", 2)
    below: dict[date, float] = {}
    for source, (color, label) in _SOURCES.items():
        own = [day for day in days if day.source == source]
        daily.bar(day_numbers([day.ddate for day in own]), [day.tons for day in own], color=color, label=label)
        share = shares(months, source)
        bottoms = [below.get(month, 0) for month in share]
        monthly.bar([f"{month:%Y-%m}" for month in share], list(share.values()), bottom=bottoms, color=color)
        below = {month: below.get(month, 0) + value for month, value in share.items()}
    daily.set_title(f"直近{_DAYS}日  last {_DAYS} days", loc="left", fontsize=9)
    label_days(daily)
    place_legend(daily)
    monthly.set_title("月ごとの割合（%）  share per month", loc="left", fontsize=9)
    monthly.set_ylim(0, 100)
    monthly.tick_params(axis="x", labelsize=7)
    return figure
