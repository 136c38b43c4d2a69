"""The sources of the rollup: every CSV kind, and king.

Made from the kinds' catalogue; how a source is rolled up stands in `rollup`.
"""

from dataclasses import dataclass

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.tables import KING, ROLLUPS


@dataclass(frozen=True)
class Source:
    """One source of a list's rows.

    Args:
        csv_type: the list.
        source: the value that `source_system` columns show.
        priority: of several sources with rows on a day the lowest number counts.
        table: the noted table that holds the rows.
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
    weight_kg: str
    amount_yen: str

    @property
    def rollup(self) -> str:
        """The rollup table that holds the source's days."""
        return ROLLUPS[self.csv_type].name


SOURCES: tuple[Source, ...] = (
    *(
        Source(
            csv_type=kind.list.csv_type,
            source=kind.source,
            priority=kind.priority,
            table=f"stg.{kind.name}",
            active=f"stg.v_active_{kind.name}",
            day="slip_date",
            slip=kind.list.slip_number,
            weight_kg="net_weight",
            amount_yen="amount",
        )
        for kind in KINDS
    ),
    Source(
        csv_type="receive",
        source="king",
        priority=3,
        table=KING.name,
        active="stg.v_king_receive_clean",
        day="invoice_d",
        slip="invoice_no",
        weight_kg="net_weight_detail",
        amount_yen="amount",
    ),
)
