"""How a text cell becomes a value: one SQL expression per cell type, as cells.yaml has them.

`trimmed` is NULL where a cell holds nothing, `value` also where it can't be read. Nothing is ever turned into NULL
unseen: the loader rejects a cell that holds something and becomes no value. Plain cells, as nearly all are, need only a
cast.
"""

import re
from collections.abc import Callable, Container, Iterable
from datetime import date
from pathlib import Path

import yaml
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import CellType, Column

_FULL_WIDTH = "０１２３４５６７８９，．－−＋／：（）"
_HALF_WIDTH = "0123456789,.--+/:()"
_WEEKDAYS = "月火水木金土日"
BLANKS = " \t\r\n\u3000\u00a0"
_EDGES = BLANKS + '"'
NOTHING = ("", "NULL", "NAN", "N/A")

_TYPES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
# SQL for the code of the problem if a cell of a type holds something and can't be read.
BAD_VALUE: dict[CellType, str] = {cell_type: entry["bad"] for cell_type, entry in _TYPES.items() if "bad" in entry}


def _is_tidy(cell: str) -> bool:
    # What is wrapped in ="…" ends in a quote.
    return cell.strip(_EDGES) == cell and cell.upper() not in NOTHING


def _is_plain_date(cell: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2}(\([月火水木金土日]\))?", cell):
        return False
    try:
        day = date.fromisoformat(cell[:10].replace("/", "-"))
    except ValueError:
        return False
    return cell[11:12] in ("", _WEEKDAYS[day.weekday()])


_IS_PLAIN: dict[CellType, Callable[[str], object]] = {
    "text": _is_tidy,
    "code": re.compile(r"[0-9][0-9A-Za-z]*").fullmatch,
    "numeric": re.compile(r"-?([0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.[0-9]{1,10})?").fullmatch,
    "integer": re.compile(r"[0-9]{1,9}").fullmatch,
    "date": _is_plain_date,
    "time": re.compile(r"([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?").fullmatch,
}


def are_plain(cells: Iterable[str], cell_type: CellType) -> bool:
    """True if each of the cells is empty or needs no more than a cast, which reads it as `value` does, or raises."""
    is_plain = _IS_PLAIN[cell_type]
    return all(not cell or is_plain(cell) for cell in set(cells))


def trimmed(column: sql.Composable, *, plain: bool = False) -> sql.Composed:
    """The cell without half- or full-width blanks around it, and out of ="…"; NULL if it holds nothing.

    Args:
        column: a raw column.
        plain: its cells `are_plain`, which spares most of the work.
    """
    if plain:
        return sql.SQL("nullif({}, '')").format(column)
    unwrapped = sql.SQL(_TYPES["any"]["unwrapped"]).format(cell=column, wrapped=f'^[{BLANKS}]*="([^"]*)"[{BLANKS}]*$')
    return sql.SQL(_TYPES["any"]["trimmed"]).format(cell=unwrapped, blanks=BLANKS, nothing=list(NOTHING))


def value(cell: sql.Composable, cell_type: CellType, *, plain: bool = False) -> sql.Composed:
    """The typed value of a trimmed cell; NULL if the cell is NULL or can't be read.

    Args:
        cell: made by `trimmed`.
        cell_type: the column's.
        plain: as given to `trimmed`.
    """
    if plain:
        return sql.SQL(_TYPES[cell_type]["plain"]).format(x=cell)
    reading = sql.SQL(_TYPES[cell_type]["value"])
    half_width = sql.SQL("translate({}, {}, {})").format(cell, _FULL_WIDTH, _HALF_WIDTH)
    # Full-width text is rare: it is only tried where the cell as it is can't be read.
    return sql.SQL("coalesce({}, {})").format(
        reading.format(x=cell, half=half_width), reading.format(x=half_width, half=half_width)
    )


def select_typed(columns: Iterable[Column], lines: sql.Composable, plain: Container[str] = ()) -> sql.Composed:
    """SELECT the typed values of raw lines by column name, their upload and their row number.

    Args:
        columns: those of the raw table that are read.
        lines: what follows FROM: a raw table, and which of its lines.
        plain: the names of columns that are known to be plain.
    """
    values = []
    cells = []
    for column in columns:
        name, is_plain = sql.Identifier(column.name), column.name in plain
        values.append(sql.SQL("{} AS {}").format(value(name, column.type, plain=is_plain), name))
        cells.append(sql.SQL("{} AS {}").format(trimmed(name, plain=is_plain), name))
    # OFFSET 0 keeps the planner from trimming a cell again at every mention.
    return sql.SQL(
        "SELECT {values}, upload_file_id, source_row_no "
        "FROM (SELECT {cells}, upload_file_id, source_row_no FROM {lines} OFFSET 0) AS lines"
    ).format(values=sql.SQL(", ").join(values), cells=sql.SQL(", ").join(cells), lines=lines)
