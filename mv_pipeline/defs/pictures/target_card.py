"""The target card: target against actual for the last 60 days, and month to date (mart.mv_target_card_per_day)."""

from itertools import accumulate

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection, read_query
from mv_pipeline.defs.pictures._style import ACTUAL, BAND, TARGET, Columns, new_figure, place_legend, read_columns


def read(connection: Connection) -> Columns:
    """Read the last 60 days; a day's actual is in the next day's row (spec: mart.mv_target_card_per_day)."""
    return read_columns(
        connection,
        read_query(__file__, "target_card"),
    )


def month_to_date(card: Columns) -> Columns:
    """The days of yesterday's month, and the running sums of target and actual over them."""
    days = card["ddate"][-1].day
    sums = {name: list(accumulate(card[name][-days:])) for name in ("target", "actual")}
    return {"ddate": card["ddate"][-days:], **sums}


def draw(connection: Connection) -> Figure:
    """Draw the card."""
    card = read(connection)
    figure, (daily, monthly) = new_figure("目標カード：目標と実績（トン）  Target and actual, tons", 2)
    if not card["ddate"]:
        return figure
    daily.bar(card["ddate"], card["actual"], color=ACTUAL, label="実績 actual")
    daily.step(card["ddate"], card["target"], where="mid", color=TARGET, label="目標 target")
    daily.set_title("直近60日  last 60 days")
    month = month_to_date(card)
    monthly.fill_between(month["ddate"], month["actual"], color=BAND, label="実績累計 actual to date")
    monthly.plot(month["ddate"], month["actual"], color=ACTUAL, marker="o")
    monthly.plot(month["ddate"], month["target"], color=TARGET, label="目標累計 target to date")
    month_target = card["month_target"][-1]
    if month_target is not None:
        monthly.axhline(month_target, color=TARGET, linestyle=":", label="月目標 month's target")
    monthly.set_title(f"{month['ddate'][-1]:%Y-%m} 月累計  month to date")
    for axes in (daily, monthly):
        axes.set_ylim(bottom=0)
        place_legend(axes)
    return figure
