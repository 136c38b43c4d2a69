"""The tables other than the CSV kinds' own, as tables.yaml has them, and which tables' changes are logged.

The tables' columns are made by the Alembic revisions in `migrate.revisions`.
"""

from pathlib import Path
from typing import Literal

import yaml

from mv_pipeline.catalog.csv_kinds import KINDS, Entry


class Table(Entry):
    """One table that views read.

    Args:
        name: schema and table.
        maintained_by: `people` for inputs that others write, `pipeline` for what this project fills by itself.
        description: Japanese.
        description_en: English.
        day: the SQL expression for the business day a row counts for; empty: its rows belong to no day.
    """

    name: str
    maintained_by: Literal["people", "pipeline"]
    description: str
    description_en: str
    day: str = ""


_ENTRIES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_OTHERS = {name: Table(name=name, **entry) for name, entry in _ENTRIES.items()}
CALENDAR = _OTHERS["ref.calendar_day"]
HOLIDAYS = _OTHERS["ref.holiday_jp"]
CLOSURES = _OTHERS["ref.closure_periods"]
CLOSURE_DAYS = _OTHERS["ref.closure_membership"]
KING = _OTHERS["stg.receive_king_final"]
TABLES = tuple(_OTHERS.values())
# Every table whose changes are logged, with the SQL expression of a row's day; empty: its rows belong to no day.
TRACKED = {f"stg.{kind.name}": "slip_date" for kind in KINDS} | {table.name: table.day for table in TABLES}
