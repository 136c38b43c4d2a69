"""The catalogue of CSV kinds: headers, columns, types, required headers and line keys.

A kind is one entry of `KINDS`. Its raw and stg tables, its active view, its triggers, its place in the
rollup, its assets and its inbox folder all follow from that entry; nothing else has to be edited.
How a cell of a type is read is in `intake.cells`; what a table looks like, in `migrate.tables`.
"""

from dataclasses import dataclass
from typing import Literal

from mv_pipeline.settings import OperatorError

CellType = Literal["date", "integer", "numeric", "text", "code", "time"]
Version = Literal["flash", "final"]


@dataclass(frozen=True)
class Column:
    """One column of a list.

    Args:
        header: the header in the CSV file, as the trade system writes it.
        name: the column in raw and stg.
        type: how a cell is read (spec: csv_columns.csv, csv_value_type).
        required: a file without this header is rejected.
        key: part of what identifies a line of a file.
    """

    header: str
    name: str
    type: CellType
    required: bool = False
    key: bool = False

    @property
    def pg_type(self) -> str:
        """The column's PostgreSQL type in stg."""
        return "text" if self.type == "code" else self.type


@dataclass(frozen=True)
class CsvList:
    """One list of the trade system; its flash and final versions have the same headers.

    Args:
        csv_type: receive, shipment or yard.
        title: the list's name in Japanese.
        slip_number: the column that numbers slips; distinct values are counted per day.
        columns: in the order of the stg table.
        daily: a file is expected for every business day.
        raw_last: columns at the end of the raw table, after all others.
        raw_unused_after: a column of the raw table and the unused columns that follow it there.
    """

    csv_type: str
    title: str
    slip_number: str
    columns: tuple[Column, ...]
    daily: bool = False
    raw_last: tuple[str, ...] = ()
    raw_unused_after: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """The raw table's text columns in order."""
        after, unused = self.raw_unused_after
        names: list[str] = []
        for column in self.columns:
            if column.name not in self.raw_last:
                names.append(column.name)
            if column.name == after:
                names.extend(unused)
        return (*names, *self.raw_last)


@dataclass(frozen=True)
class FileKind:
    """One kind of CSV file: a list in one version, with a folder, a raw table and a stg table of its own.

    Args:
        version: flash (速報) or final (最終).
        list: the list that the file holds.
        priority: where several sources have rows for a day, the lowest number counts.
        raw_legacy: unused columns at the end of the raw table that existing clients may name.
    """

    version: Version
    list: CsvList
    priority: int
    raw_legacy: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the folder, of the raw table and of the stg table."""
        return f"{self.source}_{self.list.csv_type}"

    @property
    def source(self) -> str:
        """The value that `source_system` columns show."""
        return f"shogun_{self.version}"

    @property
    def title(self) -> str:
        """The kind's name in Japanese."""
        return f"{self.list.title}{'速報' if self.version == 'flash' else '最終'}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The list's columns in the order of the stg table."""
        return self.list.columns

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """The raw table's text columns in order."""
        return self.list.raw_columns + self.raw_legacy


RECEIVE = CsvList(
    csv_type="receive",
    title="受入",
    slip_number="receive_no",
    daily=True,
    columns=(
        Column("伝票日付", "slip_date", "date", required=True, key=True),
        Column("売上日付", "sales_date", "date"),
        Column("支払日付", "payment_date", "date"),
        Column("業者CD", "vendor_cd", "integer", required=True, key=True),
        Column("業者名", "vendor_name", "text"),
        Column("伝票区分CD", "slip_type_cd", "integer"),
        Column("伝票区分名", "slip_type_name", "text"),
        Column("品名CD", "item_cd", "integer", required=True, key=True),
        Column("品名", "item_name", "text"),
        Column("正味重量", "net_weight", "numeric", required=True, key=True),
        Column("数量", "quantity", "numeric"),
        Column("単位CD", "unit_cd", "integer"),
        Column("単位名", "unit_name", "text"),
        Column("単価", "unit_price", "numeric"),
        Column("金額", "amount", "numeric"),
        Column("受入番号", "receive_no", "integer", required=True, key=True),
        Column("集計項目CD", "aggregate_item_cd", "integer"),
        Column("集計項目", "aggregate_item_name", "text"),
        Column("種類CD", "category_cd", "integer"),
        Column("種類名", "category_name", "text"),
        Column("計量時間（総重量）", "weighing_time_gross", "time"),
        Column("計量時間（空車重量）", "weighing_time_empty", "time"),
        Column("現場CD", "site_cd", "integer"),
        Column("現場名", "site_name", "text"),
        Column("荷降業者CD", "unload_vendor_cd", "integer"),
        Column("荷降業者名", "unload_vendor_name", "text"),
        Column("荷降現場CD", "unload_site_cd", "integer"),
        Column("荷降現場名", "unload_site_name", "text"),
        Column("運搬業者CD", "transport_vendor_cd", "integer"),
        Column("運搬業者名", "transport_vendor_name", "text"),
        Column("取引先CD", "client_cd", "code"),
        Column("取引先名", "client_name", "text"),
        Column("マニ種類CD", "manifest_type_cd", "integer"),
        Column("マニ種類名", "manifest_type_name", "text"),
        Column("マニフェスト番号", "manifest_no", "text"),
        Column("営業担当者CD", "sales_staff_cd", "integer"),
        Column("営業担当者名", "sales_staff_name", "text"),
    ),
    raw_last=("manifest_no",),
)

SHIPMENT = CsvList(
    csv_type="shipment",
    title="出荷",
    slip_number="shipment_no",
    columns=(
        Column("伝票日付", "slip_date", "date", required=True, key=True),
        Column("取引先名", "client_name", "text", required=True),
        Column("品名", "item_name", "text", key=True),
        Column("正味重量", "net_weight", "numeric", key=True),
        Column("数量", "quantity", "numeric", key=True),
        Column("単位名", "unit_name", "text"),
        Column("単価", "unit_price", "numeric"),
        Column("金額", "amount", "numeric"),
        Column("運搬業者名", "transport_vendor_name", "text"),
        Column("業者CD", "vendor_cd", "integer", required=True),
        Column("業者名", "vendor_name", "text", required=True, key=True),
        Column("現場CD", "site_cd", "integer"),
        Column("現場名", "site_name", "text"),
        Column("伝票区分名", "slip_type_name", "text"),
        Column("出荷番号", "shipment_no", "integer", required=True, key=True),
        Column("明細備考", "detail_note", "text"),
        Column("種類CD", "category_cd", "integer"),
        Column("種類名", "category_name", "text"),
    ),
    raw_unused_after=("detail_note", ("id", "created_at")),
)

YARD = CsvList(
    csv_type="yard",
    title="ヤード",
    slip_number="slip_no",
    columns=(
        Column("伝票日付", "slip_date", "date", required=True, key=True),
        Column("取引先名", "client_name", "text", required=True),
        Column("品名", "item_name", "text", required=True),
        Column("正味重量", "net_weight", "numeric", required=True),
        Column("数量", "quantity", "numeric", required=True),
        Column("単位名", "unit_name", "text"),
        Column("単価", "unit_price", "numeric"),
        Column("金額", "amount", "numeric", key=True),
        Column("営業担当者名", "sales_staff_name", "text"),
        Column("業者CD", "vendor_cd", "integer", key=True),
        Column("業者名", "vendor_name", "text"),
        Column("種類CD", "category_cd", "integer"),
        Column("種類名", "category_name", "text"),
        Column("品名CD", "item_cd", "integer", key=True),
        Column("伝票番号", "slip_no", "integer", key=True),
    ),
)

KINDS: tuple[FileKind, ...] = (
    FileKind("flash", RECEIVE, priority=2),
    FileKind("final", RECEIVE, priority=1, raw_legacy=("column38", "column39")),
    FileKind("flash", SHIPMENT, priority=2),
    FileKind("final", SHIPMENT, priority=1),
    FileKind("flash", YARD, priority=2),
    FileKind("final", YARD, priority=1),
)

LISTS: tuple[CsvList, ...] = tuple(dict.fromkeys(kind.list for kind in KINDS))


class UnknownKindError(OperatorError):
    """There is no CSV kind of that name."""


def find_kind(name: str) -> FileKind:
    """Return the kind of that name.

    Raises:
        UnknownKindError: there is no such kind; the message lists the kinds that exist.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise UnknownKindError(f"There is no CSV kind “{name}”. The kinds are: {', '.join(k.name for k in KINDS)}.")
