"""The tables other than the CSV kinds' own, as the graph shows them, and the sources that are rolled up.

The tables' columns are made by the Alembic revisions in `migrate.revisions`.
"""

from dataclasses import dataclass
from typing import Literal

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS


@dataclass(frozen=True)
class Table:
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
        f"{ROLLUP}_{csv_list.csv_type}",
        "pipeline",
        f"{csv_list.title}の集計（データ源・日ごとに1行）。マテリアライズドビューはこれを読みます。",
        f"{csv_list.csv_type.capitalize()} lines rolled up: one row per source and day, unrounded; "
        "recomputed only for days that changed.",
    )
    for csv_list in LISTS
}
CALENDAR = Table(
    "ref.calendar_day",
    "pipeline",
    "暦日。2021-01-01 から来年末まで、毎晩延長します。",
    "One row per day from 2021-01-01 to the end of next year; extended every night.",
)
HOLIDAYS = Table(
    "ref.holiday_jp",
    "pipeline",
    "日本の祝日。暦の期間分を毎晩更新します。",
    "Japanese public holidays over the calendar's span; kept up every night.",
)
CLOSURES = Table(
    "ref.closure_periods", "people", "会社の休業期間（両端を含む）。", "Company shutdowns, both ends included."
)
CLOSURE_DAYS = Table(
    "ref.closure_membership",
    "pipeline",
    "休業期間を1日ずつに展開した表。",
    "The closure periods expanded, one row per closed day.",
)
KING = Table(
    "stg.receive_king_final",
    "people",
    "将軍より前のシステム（king）の受入実績。履歴です。",
    "Receive lines of the system used before the trade system; history.",
    day="ref.king_date(invoice_date)",
)

TABLES: tuple[Table, ...] = (
    *ROLLUPS.values(),
    CALENDAR,
    HOLIDAYS,
    KING,
    CLOSURES,
    CLOSURE_DAYS,
    Table(
        "ref.calendar_exception",
        "people",
        "特定の日の営業区分の上書き。",
        "Overrides of one day: FORCE_CLOSED, FORCE_OPEN or FORCE_RESERVATION.",
    ),
    Table("mart.daily_target_plan", "people", "日別の搬入計画（トン）。", "The plan: target tons per day."),
    Table("kpi.monthly_targets", "people", "月次目標。", "Monthly targets by metric and segment."),
)


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
