"""The five-year profile by ISO week with its band, and this year's line (mart.mv_inb5y_week_profile_min)."""

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection, read_query
from mv_pipeline.defs.pictures._style import (
    ACTUAL,
    BAND,
    FAINT,
    TARGET,
    WARM,
    Columns,
    new_figure,
    place_legend,
    read_columns,
)


def read(connection: Connection) -> Columns:
    """Read the profile by ISO week in tons per day, and what the days tell that it was made of.

    That is the band of a sample standard deviation around the normal days' mean, and the mean of this year's normal
    days so far; None: there are none.
    """
    return read_columns(
        connection,
        read_query(__file__, "week_profile"),
    )


def draw(connection: Connection) -> Figure:
    """Draw the profile."""
    profile = read(connection)
    weeks = profile["iso_week"]
    figure, (axes,) = new_figure("ISO週別の平均受入（トン/日、直近5年）  Five-year profile, tons per day", 1)
    axes.fill_between(weeks, profile["low"], profile["high"], color=BAND, alpha=0.5, label="通常日 ±σ")
    axes.plot(weeks, profile["normal"], color=ACTUAL, label="通常日 normal days")
    axes.plot(weeks, profile["reservation"], color=WARM, linestyle="--", label="予約日 reservation days")
    # The line goes on over weeks that had no normal day.
    means = {week: mean for week, mean in zip(weeks, profile["this_year"], strict=True) if mean is not None}
    axes.plot(list(means), list(means.values()), color=TARGET, marker="o", label="今年の通常日 this year")
    axes.set_xlabel("ISO週  ISO week")
    axes.set_xlim(1, 53)
    axes.set_ylim(bottom=0)
    place_legend(axes)
    axes.grid(visible=True, axis="x", color=FAINT, alpha=0.3)
    return figure
