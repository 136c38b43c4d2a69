"""The target card: target against actual for the last 60 days, and month to date (mart.mv_target_card_per_day)."""

from dataclasses import dataclass
from datetime import date

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection
from mv_pipeline.defs.pictures._style import ACTUAL, BAND, TARGET, day_numbers, label_days, new_figure, place_legend

_DAYS = 60


@dataclass(frozen=True)
class Card:
    """What is drawn.

    Args:
        days: the last days up to yesterday.
        target: tons planned for each day.
        actual: tons received on each day.
        month_target: tons planned for yesterday's month; None: no target.
    """

    days: list[date]
    target: list[float]
    actual: list[float]
    month_target: float | None

    def month_to_date(self) -> tuple[list[date], list[float], list[float]]:
        """The days of yesterday's month, and the running sums of target and actual over them."""
        month = [i for i, day in enumerate(self.days) if day.replace(day=1) == self.days[-1].replace(day=1)]
        sums = [[sum(values[month[0] : i + 1]) for i in month] for values in (self.target, self.actual)]
        return [self.days[i] for i in month], sums[0], sums[1]


def read(connection: Connection) -> Card:
    """Read the card; a day's actual stands in the next day's row (spec: mart.mv_target_card_per_day)."""
    rows = connection.execute(
        "SELECT t.ddate, t.day_target_ton::float, coalesce(n.day_actual_ton_prev, 0)::float, t.month_target_ton::float "
        "FROM mart.mv_target_card_per_day AS t LEFT JOIN mart.mv_target_card_per_day AS n ON n.ddate = t.ddate + 1 "
        "WHERE t.ddate BETWEEN ref.business_date() - %s AND ref.business_date() - 1 ORDER BY t.ddate",
        [_DAYS],
    ).fetchall()
    return Card([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], rows[-1][3] if rows else None)


def draw(connection: Connection) -> Figure:
    """Draw the card."""
    card = read(connection)
    figure, (daily, monthly) = new_figure("目標カード：目標と実績（トン）  Target and actual, tons", 2)
    if not card.days:
        return figure
    daily.bar(day_numbers(card.days), card.actual, color=ACTUAL, label="実績 actual")
    daily.step(day_numbers(card.days), card.target, where="mid", color=TARGET, label="目標 target")
    daily.set_title(f"直近{_DAYS}日  last {_DAYS} days", loc="left", fontsize=9)
    month, target, actual = card.month_to_date()
    monthly.fill_between(day_numbers(month), actual, color=BAND, label="実績累計 actual to date")
    monthly.plot(day_numbers(month), actual, color=ACTUAL, marker="o", markersize=3)
    monthly.plot(day_numbers(month), target, color=TARGET, label="目標累計 target to date")
    if card.month_target is not None:
        monthly.axhline(card.month_target, color=TARGET, linestyle=":", label="月目標 month's target")
    monthly.set_title(f"{month[-1]:%Y-%m} 月累計  month to date", loc="left", fontsize=9)
    for axes in (daily, monthly):
        label_days(axes)
        axes.set_ylim(bottom=0)
        place_legend(axes)
    return figure
