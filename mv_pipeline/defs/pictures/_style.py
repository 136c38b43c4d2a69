"""How all pictures look: a white card, readable on a light and on a dark page, with Japanese letters of its own."""

import io
from collections.abc import Sequence
from datetime import date

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib_fontja import get_font_ttf_path
from PIL import Image

ACTUAL, TARGET, BAND, WARM, FAINT = "#1f6fb2", "#d1495b", "#9cc4e4", "#edae49", "#c9ced6"
_INK = "#2b2f36"
_FONT = "IPAexGothic"
# As wide as the UI's dialog, which would cut a wider one.
_DPI = 114
_COLOURS = 64
_EPOCH = date(1970, 1, 1)


def new_figure(title: str, panels: int) -> tuple[Figure, Sequence[Axes]]:
    """Make an empty card with panels one above the other."""
    fontManager.addfont(get_font_ttf_path())
    with mpl.rc_context(
        {
            "font.family": _FONT,
            "font.size": 9,
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "axes.edgecolor": FAINT,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": "#e8ebef",
            "axes.axisbelow": True,
        }
    ):
        figure = Figure(figsize=(8, 2.6 * panels), facecolor="white", layout="constrained")
        figure.suptitle(title, fontsize=11)
        axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    return figure, list(axes)


def day_numbers(days: Sequence[date]) -> list[int]:
    """Days as positions on a panel's axis."""
    return [(day - _EPOCH).days for day in days]


def label_days(axes: Axes) -> None:
    """Let the panel's horizontal axis show days."""
    axes.xaxis_date()
    formatter = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)


def place_legend(axes: Axes) -> None:
    """Put the panel's legend above it, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=8, borderaxespad=0.2)


def as_png(figure: Figure) -> bytes:
    """The picture in as many colours as it has use for."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    with mpl.rc_context({"font.family": _FONT}):
        figure.savefig(drawn, format="png", dpi=_DPI)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(reduced, "PNG", optimize=True)
    return reduced.getvalue()
