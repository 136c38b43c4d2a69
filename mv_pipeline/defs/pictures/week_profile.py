"""The five-year profile by ISO week with its band, and this year's line (mart.mv_inb5y_week_profile_min)."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from mv_pipeline.database.connection import Connection
from mv_pipeline.defs.pictures._style import ACTUAL, BAND, FAINT, TARGET, WARM, new_figure, place_legend


@dataclass(frozen=True)
class Week:
    """One ISO week, in tons per day.

    Args:
        iso_week: its number.
        normal: mean of normal days over five years.
        reservation: mean of reservation days over five years.
        sigma: sample standard deviation of the normal days; None: fewer than two.
        this_year: mean of this year's normal days so far; None: none yet.
    """

    iso_week: int
    normal: float
    reservation: float
    sigma: float | None
    this_year: float | None


def read(connection: Connection) -> list[Week]:
    """Read the profile, and the spread and this year's mean of the days that it was made of."""
    rows = connection.execute(
        "SELECT p.iso_week, p.normal_day_mean::float, p.reservation_day_mean::float, d.sigma::float, "
        "d.this_year::float FROM mart.mv_inb5y_week_profile_min AS p LEFT JOIN ("
        "SELECT iso_week, stddev_samp(receive_net_ton) AS sigma, avg(receive_net_ton) FILTER "
        "(WHERE changed_at IS NOT NULL AND iso_year = extract(isoyear FROM ref.business_date())) AS this_year "
        "FROM mart.v_inb5y_days WHERE is_business AND day_type = 'NORMAL' GROUP BY iso_week) AS d USING (iso_week) "
        "ORDER BY p.iso_week"
    ).fetchall()
    return [Week(*row) for row in rows]


def draw(connection: Connection) -> Figure:
    """Draw the profile."""
    weeks = read(connection)
    figure, (axes,) = new_figure("ISO週別の平均受入（トン/日、直近5年）  Five-year profile, tons per day", 1)
    numbers = [week.iso_week for week in weeks]
    axes.fill_between(
        numbers,
        [max(week.normal - (week.sigma or 0), 0) for week in weeks],
        [week.normal + (week.sigma or 0) for week in weeks],
        color=BAND,
        alpha=0.5,
        label="通常日 ±σ",
    )
    axes.plot(numbers, [week.normal for week in weeks], color=ACTUAL, label="通常日 normal days")
    axes.plot(
        numbers, [week.reservation for week in weeks], color=WARM, linestyle="--", label="予約日 reservation days"
    )
    this_year = [week for week in weeks if week.this_year is not None]
    axes.plot(
        [week.iso_week for week in this_year],
        [week.this_year or 0 for week in this_year],
        color=TARGET,
        marker="o",
        markersize=3,
        label="今年の通常日 this year",
    )
    axes.set_xlabel("ISO週  ISO week")
    axes.set_xlim(1, 53)
    axes.set_ylim(bottom=0)
    place_legend(axes)
    axes.grid(visible=True, axis="x", color=FAINT, alpha=0.3)
    return figure
