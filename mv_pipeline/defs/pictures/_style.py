"""How all pictures look: a white card, readable on a light and on a dark page, with Japanese letters of its own."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib_fontja import get_font_ttf_path
from PIL import Image
from psycopg import sql

from mv_pipeline.database.connection import Connection

Columns = dict[str, list[Any]]

ACTUAL, TARGET, BAND, WARM, FAINT = "#1f6fb2", "#d1495b", "#9cc4e4", "#edae49", "#c9ced6"
_COLOURS = 64


def read_columns(connection: Connection, query: LiteralString | sql.SQL, *params: object) -> Columns:
    """Read what a picture shows, by the names of the query's columns."""
    cursor = connection.execute(query, params)
    rows = cursor.fetchall()
    return {column.name: [row[i] for row in rows] for i, column in enumerate(cursor.description or ())}


def new_figure(title: str, panels: int) -> tuple[Figure, list[Axes]]:
    """Make an empty card with panels one above the other."""
    figure = Figure(figsize=(8, 2.6 * panels))
    figure.suptitle(title)
    return figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def place_legend(axes: Axes) -> None:
    """Put the panel's legend above it, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=8, borderaxespad=0.2)


def as_png(draw: Callable[[], Figure]) -> bytes:
    """Draw a picture, in as many colours as it has use for."""
    fontManager.addfont(get_font_ttf_path())
    drawn, reduced = io.BytesIO(), io.BytesIO()
    with style.context(Path(__file__).with_suffix(".mplstyle")):
        draw().savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(reduced, "PNG", optimize=True)
    return reduced.getvalue()
