"""The tables other than the CSV kinds' own, as tables.yaml has them, and the sources that are rolled up.

The tables' columns are made by the Alembic revisions in `migrate.revisions`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, Entry


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


ROLLUP = "mart.rollup_daily"
ROLLUPS: dict[str, Table] = {
    csv_list.csv_type: Table(
        name=f"{ROLLUP}_{csv_list.csv_type}",
        maintained_by="pipeline",
        description=f"{csv_list.title}の集計（データ源・日ごとに1行）。マテリアライズドビューはこれを読みます。",
        description_en=f"{csv_list.csv_type.capitalize()} lines rolled up: one row per source and day, unrounded; "
        "recomputed only for days that changed.",
    )
    for csv_list in LISTS
}
_ENTRIES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_OTHERS = {name: Table(name=name, **entry) for name, entry in _ENTRIES.items()}
CALENDAR = _OTHERS["ref.calendar_day"]
HOLIDAYS = _OTHERS["ref.holiday_jp"]
CLOSURES = _OTHERS["ref.closure_periods"]
CLOSURE_DAYS = _OTHERS["ref.closure_membership"]
KING = _OTHERS["stg.receive_king_final"]
TABLES: tuple[Table, ...] = (*ROLLUPS.values(), *_OTHERS.values())


@dataclass(frozen=True)
class Source:
    """One source of a list's rows; how it is rolled up is in `refresh.rollup`.

    Args:
        csv_type: the list.
        source: the value that `source_system` columns show.
        priority: of several sources with rows on a day the lowest number counts.
        table: the tracked table that holds the rows.
        active: the view of the rows that count.
        day, slip, weight_kg, amount_yen: the view's columns.
    """

    csv_type: str
    source: str
    priority: int
    table: str
    active: str
    day: str
    slip: str
    weight_kg: str = "net_weight"
    amount_yen: str = "amount"

    @property
    def rollup(self) -> str:
        """The rollup table that holds the source's days."""
        return ROLLUPS[self.csv_type].name


SOURCES: tuple[Source, ...] = (
    *(
        Source(
            kind.list.csv_type,
            kind.source,
            kind.priority,
            table=f"stg.{kind.name}",
            active=f"stg.v_active_{kind.name}",
            day="slip_date",
            slip=kind.list.slip_number,
        )
        for kind in KINDS
    ),
    Source(
        "receive",
        "king",
        3,
        table=KING.name,
        active="stg.v_king_receive_clean",
        day="invoice_d",
        slip="invoice_no",
        weight_kg="net_weight_detail",
    ),
)


def sources_of(csv_type: str) -> list[Source]:
    """The sources of a list's rows."""
    return [source for source in SOURCES if source.csv_type == csv_type]
