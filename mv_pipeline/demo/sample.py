"""Sample data for the demo and for tests: CSV files as the trade system exports them, and what people keep in tables.

Here belongs made-up data only, the same for the same arguments: a day's content follows from the seed and the day,
never from a clock. Every company, person and place is invented. Nothing is loaded, refreshed or moved here; bad files
for tests of rejection don't belong here either, because every file made here can be loaded.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CellType, Column, CsvList, FileKind
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.settings import TIME_ZONE

KING_START = date(2021, 1, 4)

Cell = date | int | float | str | None
Line = dict[str, Cell]

_FLASH_ONLY_DAYS = 2
_MEAN_TONS = 88
_WEEKDAY_FACTORS = (1.03, 1.00, 0.98, 1.00, 1.04, 0.80)
_MONTH_FACTORS = (0.90, 0.96, 1.08, 1.02, 0.98, 0.97, 1.00, 0.92, 0.99, 1.02, 1.05, 1.10)
_NUMBERING_START = date(2021, 1, 1).toordinal()


class _Item(NamedTuple):
    code: int
    name: str
    group: tuple[int, str]
    category: int
    unit: tuple[int, str]
    kg_per_unit: float
    yen_per_unit: float
    frequency: int


class _Client(NamedTuple):
    code: str
    name: str
    staff: tuple[int, str]


class _Vendor(NamedTuple):
    code: str
    name: str
    client: _Client
    sites: tuple[tuple[str, str], ...]


_CATEGORIES = {1: "廃棄物", 2: "商品", 3: "有価物", 9: "その他"}
_KG, _TON, _CUBIC, _TIMES = (1, "kg"), (2, "t"), (3, "m3"), (4, "回")
_MIXED, _WOOD, _PLASTIC, _RUBBLE = (1, "混合廃棄物"), (2, "木くず"), (3, "廃プラスチック"), (4, "がれき類")
_BOARD, _PAPER, _METAL, _PRODUCT, _FEE = (5, "石膏・ガラス"), (6, "紙・繊維"), (7, "金属"), (8, "製品"), (9, "手数料")

_RECEIVE_ITEMS = (
    _Item(101, "混合廃棄物（可燃）", _MIXED, 1, _KG, 1, 42, 20),
    _Item(102, "混合廃棄物（嵩物）", _MIXED, 1, _CUBIC, 260, 9500, 10),
    _Item(110, "木くず", _WOOD, 1, _KG, 1, 18, 16),
    _Item(111, "生木・剪定枝", _WOOD, 1, _KG, 1, 22.5, 5),
    _Item(120, "廃プラスチック類", _PLASTIC, 1, _KG, 1, 38, 14),
    _Item(130, "コンクリートがら", _RUBBLE, 1, _TON, 1000, 6500, 9),
    _Item(131, "アスファルトがら", _RUBBLE, 1, _KG, 1, 9.25, 3),
    _Item(140, "ガラス・陶磁器くず", _BOARD, 1, _KG, 1, 25, 5),
    _Item(150, "石膏ボード", _BOARD, 1, _KG, 1, 30, 7),
    _Item(160, "紙くず", _PAPER, 1, _KG, 1, 15, 4),
    _Item(170, "繊維くず", _PAPER, 1, _KG, 1, 35, 2),
    _Item(201, "鉄スクラップ", _METAL, 3, _KG, 1, 28, 7),
    _Item(202, "アルミくず", _METAL, 3, _KG, 1, 120, 2),
    _Item(203, "古段ボール", _PAPER, 3, _KG, 1, 8, 3),
    _Item(301, "返品砕石", _PRODUCT, 2, _TON, 1000, 1200, 1),
    _Item(901, "計量手数料", _FEE, 9, _TIMES, 0, 550, 1),
)
_SHIPMENT_ITEMS = (
    _Item(401, "木チップ", _WOOD, 3, _TON, 1000, 3200, 8),
    _Item(402, "RPF原料", _PLASTIC, 3, _TON, 1000, 1800, 6),
    _Item(403, "再生砕石", _PRODUCT, 2, _TON, 1000, 1500, 7),
    _Item(404, "鉄スクラップ（加工済）", _METAL, 3, _KG, 1, 41, 5),
    _Item(405, "選別残さ", _MIXED, 1, _KG, 1, 24, 6),
    _Item(406, "石膏粉", _BOARD, 1, _KG, 1, 12.5, 3),
)
_YARD_ITEMS = (
    _Item(501, "手選別（木）", _WOOD, 1, _KG, 1, 5, 5),
    _Item(502, "手選別（プラ）", _PLASTIC, 1, _KG, 1, 7, 5),
    _Item(503, "破砕", _MIXED, 1, _KG, 1, 6.5, 4),
    _Item(504, "金属回収", _METAL, 3, _KG, 1, 26, 4),
    _Item(505, "圧縮梱包", _PAPER, 3, _KG, 1, 9, 2),
)

_STAFF = ((11, "見本 太郎"), (12, "例示 花子"), (13, "仮名 一郎"), (14, "架空 さくら"), (15, "試作 次郎"))
_CLIENTS = tuple(
    _Client(code, name, _STAFF[index % len(_STAFF)])
    for index, (code, name) in enumerate(
        (
            ("000101", "株式会社架空建設"),
            ("000102", "見本商事株式会社"),
            ("000115", "有限会社例示工務店"),
            ("000A12", "株式会社仮名ホーム"),
            ("001203", "空想リフォーム株式会社"),
            ("00B007", "株式会社幻解体工業"),
            ("002044", "雲上土木株式会社"),
            ("002310", "株式会社月面設備"),
            ("012C05", "竜宮内装株式会社"),
            ("003007", "有限会社桃源郷造園"),
            ("003120", "株式会社蜃気楼電設"),
            ("004999", "（株）夢見小町ハウス"),
        )
    )
)
_PLACES = ("雲上町", "竜宮台", "蜃気楼通り", "月面ヶ丘", "桃源郷", "幻本町", "空想団地", "夢見坂", "絵空事港", "仮名沢")
_WORKS = ("新築工事", "解体工事", "改修工事")
_VENDORS = tuple(
    _Vendor(
        f"{1001 + 7 * index:06}",
        name,
        _CLIENTS[index % len(_CLIENTS)],
        tuple(
            (f"{3 * index + number:06}", f"{_PLACES[(index + 4 * number) % len(_PLACES)]}{index + 1}号{work}")
            for number, work in enumerate(_WORKS, start=1)
        ),
    )
    for index, name in enumerate(
        (
            "架空建設 本店",
            "見本商事 資材部",
            "例示工務店",
            "仮名ホーム 東仮名支店",
            "空想リフォーム",
            "幻解体工業",
            "雲上土木",
            "月面設備 裏側営業所",
            "竜宮内装",
            "桃源郷造園",
            "蜃気楼電設",
            "夢見小町ハウス",
            "架空建設 西架空支店",
            "見本商事 見本市営業所",
            "例示工務店 第二作業所",
            "仮名ホーム 南仮名支店",
            "空想リフォーム 空想団地店",
            "幻解体工業 幻港営業所",
        )
    )
)
_TRANSPORTERS = (
    ("009001", "自社"),
    ("009102", "ダミー運輸株式会社"),
    ("009103", "株式会社雲上便"),
    ("009110", "有限会社竜宮急送"),
    ("009125", "かすみ運送見本組合"),
)
_PLANT = ("000001", "見本リサイクル工場")
_PLANT_SITE = ("000001", "第一見本ヤード")
_BUYERS = (
    ("007001", "絵空事製紙株式会社"),
    ("007002", "株式会社夢想セメント"),
    ("007003", "架空鉄鋼見本株式会社"),
    ("007004", "幻バイオマス発電合同会社"),
    ("007005", "空想道路株式会社"),
)
_NOTES = ("午前着", "伝票は後日郵送", "2台口", "再計量済", "検収立会いあり")


class KingLine(NamedTuple):
    """One line of the system used before the trade system; the fields are columns of stg.receive_king_final.

    Weights are kg, amounts yen. `invoice_date` is text in two spellings and sometimes no date.
    """

    invoice_no: int
    invoice_date: str
    vehicle_type_code: int
    vehicle_type: str
    customer_code: int
    customer: str
    sales_person_code: int
    sales_person: str
    item_code: int
    item_name: str
    quantity: float
    unit_code: int
    unit: str
    unit_price: float
    amount: int
    gross_weight_detail: int
    tare_weight_detail: int
    net_weight_detail: int


class _Plan(NamedTuple):
    ddate: datetime
    target_ton: float
    scope_used: str
    created_at: datetime


class _MonthlyTarget(NamedTuple):
    month_date: date
    segment: str
    metric: str
    value: float
    unit: str
    label: str
    updated_at: datetime


class _Closure(NamedTuple):
    start_date: date
    end_date: date
    closure_name: str


def write_files(folder: Path, last_day: date, weeks: int = 4, seed: int = 1) -> list[Path]:
    """Write sample files of every kind, `<folder>/<kind>/<name>.csv`; a file of that name is overwritten.

    Each kind has one file per seven days. Final files leave out the two newest business days, which only flash has.

    Args:
        folder: an inbox, or any folder; it and the kinds' folders are made if missing.
        last_day: the last day that the files cover.
        weeks: how many times seven days they cover, at least 1.
        seed: another seed gives other lines.

    Returns:
        The files in the order in which they should be dropped: older before newer, flash before final.
    """
    first = _first_day(last_day, weeks)
    days = _business_days(first, last_day)
    lines = {
        (csv_list.csv_type, day): _make_lines(csv_list, day, _random(seed, csv_list.csv_type, day))
        for csv_list in LISTS
        for day in days
    }
    kinds = sorted(KINDS, key=lambda kind: kind.version == "final")
    paths = []
    for week in range(weeks):
        start = first + timedelta(days=7 * week)
        for position, kind in enumerate(kinds):
            known = days if kind.version == "flash" else days[:-_FLASH_ONLY_DAYS]
            covered = [day for day in known if start <= day < start + timedelta(days=7)]
            if not covered:
                continue
            content: list[Line] = []
            for day in covered:
                day_lines = lines[kind.list.csv_type, day]
                if kind.version == "flash":
                    day_lines = _as_flash(day_lines, _random(seed, kind.name, day))
                content += day_lines
            title = _FILE_NAMES.get(kind.list.csv_type, f"{kind.list.title}一覧")
            path = folder / kind.name / f"{title}_{covered[0]:%Y%m%d}-{covered[-1]:%Y%m%d}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            style = _style(week * len(kinds) + position)
            path.write_bytes(_file_bytes(kind, content, style, _random(seed, path.name, kind.name)))
            paths.append(path)
    return paths


def king_rows(first: date, last: date, seed: int = 1) -> list[KingLine]:
    """Make the old system's lines of the business days from `first` to `last`, both included.

    A day has four to six lines, of which those that count weigh about 60 to 110 t together. A few lines have
    another vehicle type, no weight or an impossible date.
    """
    rows = []
    for day in _business_days(first, last):
        random = _random(seed, "king", day)
        shares = [0.6 + random.random() for _ in range(random.randint(4, 5))]
        kg_per_share = _expected_tons(day) * random.uniform(0.95, 1.05) * 1000 / sum(shares)
        weights = [round(share * kg_per_share / 10) * 10 for share in shares]
        date_text = f"{day:%Y-%m-%d}" if random.random() < 0.5 else f"{day:%Y/%m/%d}"
        number = 10 * (day.toordinal() - _NUMBERING_START)
        rows += [_king_line(number + n, date_text, 1, kg, random) for n, kg in enumerate(weights)]
        oddity = random.random()
        number += len(weights)
        if oddity < 0.02:
            rows.append(_king_line(number, date_text, 2, 1200, random))
        elif oddity < 0.04:
            rows.append(_king_line(number, date_text, 1, 0, random))
        elif oddity < 0.05:
            rows.append(_king_line(number, f"{day:%Y}/02/30", 1, 900, random))
    return rows


def fill_inputs(connection: Connection, last_day: date, weeks: int = 4, seed: int = 1) -> dict[str, int]:
    """Fill king's history, plans, targets and closures where they are empty, in the caller's transaction.

    Args:
        connection: whoever calls owns its transaction.
        last_day: as for `write_files`, so that history ends the day before the files begin.
        weeks: as for `write_files`.
        seed: as for `write_files`.

    Returns:
        The number of rows written by table; 0 for a table that had rows already and was left as it is.
    """
    first = _first_day(last_day, weeks)
    months = _months((first.year - 1, first.month), _next_month(last_day.year, last_day.month))
    rows: dict[str, Sequence[KingLine | _Plan | _MonthlyTarget | _Closure]] = {
        "stg.receive_king_final": king_rows(KING_START, first - timedelta(days=1), seed),
        "mart.daily_target_plan": [plan for month in months for plan in _plans(month)],
        "kpi.monthly_targets": [_monthly_target(month) for month in months],
        "ref.closure_periods": _closures(KING_START.year - 1, last_day.year + 1),
    }
    return {table: _fill(connection, table, content) for table, content in rows.items()}


def _first_day(last_day: date, weeks: int) -> date:
    return last_day - timedelta(days=7 * weeks - 1)


def _business_days(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 6 and not _is_closed(day)]


def _is_closed(day: date) -> bool:
    """True in the closures that `_closures` spells out."""
    return (
        (day.month, day.day) >= (12, 30) or (day.month, day.day) <= (1, 3) or (8, 13) <= (day.month, day.day) <= (8, 16)
    )


def _random(*seed: object) -> Random:
    """A generator of its own for each day or file, so that a longer span doesn't change the days that are in both."""
    return Random(":".join(map(str, seed)))  # noqa: S311  # made-up data hides nothing


def _expected_tons(day: date) -> float:
    return _MEAN_TONS * _WEEKDAY_FACTORS[day.weekday()] * _MONTH_FACTORS[day.month - 1]


def _slip_sizes(lines: int, random: Random) -> list[int]:
    sizes: list[int] = []
    while lines:
        sizes.append(min(lines, random.choices((1, 2, 3), (55, 30, 15))[0]))
        lines -= sizes[-1]
    return sizes


def _pick_items(items: Sequence[_Item], number: int, random: Random) -> list[_Item]:
    """Draw different items, because two equal ones on a slip could not be told apart."""
    picked: dict[int, _Item] = {}
    while len(picked) < number:
        item = random.choices(items, [item.frequency for item in items])[0]
        picked[item.code] = item
    return list(picked.values())


def _item_cells(item: _Item) -> Line:
    return {
        "item_cd": f"{item.code:06}",
        "item_name": item.name,
        "unit_cd": item.unit[0],
        "unit_name": item.unit[1],
        "aggregate_item_cd": item.group[0],
        "aggregate_item_name": item.group[1],
        "category_cd": item.category,
        "category_name": _CATEGORIES[item.category],
    }


def _weigh(lines: list[tuple[Line, _Item]], tons: float, random: Random) -> list[Line]:
    """Share out a day's tons in steps of the scale (10 kg), and price each line."""
    shares = [0.2 + 2 * random.random() * random.random() if item.kg_per_unit else 0 for _, item in lines]
    kg_per_share = tons * 1000 / sum(shares)
    weighed = []
    for (line, item), share in zip(lines, shares, strict=True):
        kg = round(share * kg_per_share / 10) * 10
        quantity = _number(kg / item.kg_per_unit) if item.kg_per_unit else 1
        weighed.append(
            line
            | {
                "net_weight": kg,
                "quantity": quantity,
                "unit_price": item.yen_per_unit,
                "amount": _number(quantity * item.yen_per_unit),
            }
        )
    return weighed


def _number(value: float) -> int | float:
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _receive_lines(day: date, random: Random) -> list[Line]:
    lines: list[tuple[Line, _Item]] = []
    sizes = _slip_sizes(random.randint(110, 125) if day.weekday() == 5 else random.randint(125, 150), random)
    for number, size in enumerate(sizes, start=1):
        vendor = random.choice(_VENDORS)
        transporter = random.choice(_TRANSPORTERS)
        site = random.choice(vendor.sites) if random.random() < 0.9 else (None, None)
        arrival = 8 * 60 + number * 530 // len(sizes) + random.randint(0, 5)
        manifest = f"{random.randint(10**10, 10**11 - 1)}"
        slip: Line = {
            "slip_date": day,
            "sales_date": day,
            "vendor_cd": vendor.code,
            "vendor_name": vendor.name,
            "receive_no": 100_000 + 200 * (day.toordinal() - _NUMBERING_START) + number,
            "weighing_time_gross": _time(arrival),
            "weighing_time_empty": _time(arrival + random.randint(6, 25)),
            "site_cd": site[0],
            "site_name": site[1],
            "unload_vendor_cd": _PLANT[0],
            "unload_vendor_name": _PLANT[1],
            "unload_site_cd": _PLANT_SITE[0],
            "unload_site_name": _PLANT_SITE[1],
            "transport_vendor_cd": transporter[0],
            "transport_vendor_name": transporter[1],
            "client_cd": vendor.client.code,
            "client_name": vendor.client.name,
            "sales_staff_cd": vendor.client.staff[0],
            "sales_staff_name": vendor.client.staff[1],
        }
        for item in _pick_items(_RECEIVE_ITEMS, size, random):
            bought = item.category == 3
            line = slip | _item_cells(item)
            line |= {
                "payment_date": day if bought else None,
                "slip_type_cd": 2 if bought else 1,
                "slip_type_name": "支払" if bought else "売上",
            }
            if item.category == 1:
                line |= {"manifest_type_cd": 1, "manifest_type_name": "産廃（直行）", "manifest_no": manifest}
            lines.append((line, item))
    return _weigh(lines, _expected_tons(day) * random.uniform(0.95, 1.05), random)


def _shipment_lines(day: date, random: Random) -> list[Line]:
    lines: list[tuple[Line, _Item]] = []
    for number, size in enumerate(_slip_sizes(random.randint(15, 25), random), start=1):
        code, name = random.choice(_BUYERS)
        transporter = random.choice(_TRANSPORTERS)
        slip: Line = {
            "slip_date": day,
            "client_name": name,
            "transport_vendor_name": transporter[1],
            "vendor_cd": code,
            "vendor_name": name,
            "site_cd": _PLANT_SITE[0],
            "site_name": _PLANT_SITE[1],
            "shipment_no": 20_000 + 40 * (day.toordinal() - _NUMBERING_START) + number,
            "detail_note": random.choice(_NOTES) if random.random() < 0.15 else None,
        }
        for item in _pick_items(_SHIPMENT_ITEMS, size, random):
            line = slip | _item_cells(item)
            line["slip_type_name"] = "支払" if item.category == 1 else "売上"
            lines.append((line, item))
    return _weigh(lines, 0.85 * _expected_tons(day) * random.uniform(0.8, 1.2), random)


def _yard_lines(day: date, random: Random) -> list[Line]:
    lines: list[tuple[Line, _Item]] = []
    for number, size in enumerate(_slip_sizes(random.randint(10, 20), random), start=1):
        vendor = random.choice(_VENDORS)
        slip: Line = {
            "slip_date": day,
            "client_name": vendor.client.name,
            "sales_staff_name": vendor.client.staff[1],
            "vendor_cd": vendor.code,
            "vendor_name": vendor.name,
            "slip_no": 10_000 + 30 * (day.toordinal() - _NUMBERING_START) + number,
        }
        for item in _pick_items(_YARD_ITEMS, size, random):
            lines.append((slip | _item_cells(item), item))
    return _weigh(lines, 0.15 * _expected_tons(day) * random.uniform(0.8, 1.2), random)


_LINE_MAKERS: dict[str, Callable[[date, Random], list[Line]]] = {
    "receive": _receive_lines,
    "shipment": _shipment_lines,
    "yard": _yard_lines,
}
_FILE_NAMES = {"receive": "受入一覧", "shipment": "出荷一覧", "yard": "yard_list"}


def _make_lines(csv_list: CsvList, day: date, random: Random) -> list[Line]:
    """A day's lines of a list; one that nobody has invented a story for gets lines made from its columns alone."""
    maker = _LINE_MAKERS.get(csv_list.csv_type)
    return maker(day, random) if maker else _plain_lines(csv_list, day, random)


def _plain_lines(csv_list: CsvList, day: date, random: Random) -> list[Line]:
    first = 20 * (day.toordinal() - _NUMBERING_START)
    return [
        {column.name: _plain_cell(column, day, random) for column in csv_list.columns} | {csv_list.slip_number: number}
        for number in range(first + 1, first + 1 + random.randint(6, 12))
    ]


def _plain_cell(column: Column, day: date, random: Random) -> Cell:
    number = random.randint(1, 9)
    cells: dict[CellType, Cell] = {
        "date": day,
        "integer": number,
        "numeric": 100 * number,
        "text": f"架空の{column.header}{number}",
        "code": f"{number:06}",
        "time": _time(8 * 60 + 50 * number),
    }
    return cells[column.type]


def _time(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"


def _as_flash(lines: list[Line], random: Random) -> list[Line]:
    """What the office sees before closing: a line is missing here and there, and some aren't priced yet."""
    seen = []
    for line in lines:
        chance = random.random()
        if chance >= 0.015:
            seen.append(line if chance >= 0.05 else line | {"unit_price": None, "amount": None})
    return seen or lines


def _date_with_weekday(day: date) -> str:
    return f"{day:%Y/%m/%d}({'月火水木金土日'[day.weekday()]})"


def _date_unpadded(day: date) -> str:
    return f"{day.year}/{day.month}/{day.day}"


@dataclass(frozen=True)
class _Style:
    """What one file's export looks like (spec: CSV files as they really come)."""

    encoding: str
    date_text: Callable[[date], str]
    thousands: bool
    full_width: bool
    blanks: bool
    long_times: bool
    total: bool
    blank_lines: bool
    extra_column: bool
    reordered: bool
    note_with_newline: bool


def _style(number: int) -> _Style:
    """The look of the file with that place in the drop order; the first week's six files have every rare one."""
    return _Style(
        encoding="utf-8" if number == 5 else "utf-8-sig" if number % 7 == 1 else "cp932",
        date_text={2: date.isoformat, 4: _date_unpadded}.get(number % 5, _date_with_weekday),
        thousands=number % 4 != 1,
        full_width=number % 5 != 2,
        blanks=number % 4 != 0,
        long_times=number % 5 == 2,
        total=number % 4 == 3,
        blank_lines=number % 4 == 2,
        extra_column=number == 0,
        reordered=number == 3,
        note_with_newline=number == 4,
    )


def _file_bytes(kind: FileKind, lines: list[Line], style: _Style, random: Random) -> bytes:
    columns = list(kind.columns)
    if style.reordered:
        random.shuffle(columns)
    texts = [(column.name, _text_maker(column, style)) for column in columns]
    rows = [[make_text(line.get(name)) for name, make_text in texts] for line in lines]
    _roughen(rows, columns, style, random)
    names = [column.name for column in columns]
    if style.note_with_newline and "detail_note" in names:
        rows[0][names.index("detail_note")] = '荷崩れ注意\n要"シート"、2,000kgまで可, 再計量'
    headers = [column.header for column in columns]
    if style.blanks:
        headers[-1] = f"{headers[-1]}　"
    if style.extra_column:
        headers.append("車輌番号")
        for row in rows:
            row.append(f"架空{random.randint(100, 999)}")
    if style.total:
        rows.append(_total_row(columns, lines, len(headers)))
    if style.blank_lines:
        rows.insert(len(rows) // 2, [])
        rows.append([""] * len(headers))
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([headers, *rows])
    return text.getvalue().encode(style.encoding)


def _text_maker(column: Column, style: _Style) -> Callable[[Cell], str]:
    def of_date(cell: Cell) -> str:
        return style.date_text(cell) if isinstance(cell, date) else ""

    def of_number(cell: Cell) -> str:
        return f"{cell:,}" if isinstance(cell, int | float) else ""

    def of_time(cell: Cell) -> str:
        return f"{cell:0>5}:00" if cell else ""

    def plain(cell: Cell) -> str:
        return "" if cell is None else str(cell)

    if column.type == "date":
        return of_date
    if column.type == "numeric" and style.thousands:
        return of_number
    if column.type == "time" and style.long_times:
        return of_time
    return plain


_FULL_WIDTH = str.maketrans("0123456789,.", "０１２３４５６７８９，．")


def _roughen(rows: list[list[str]], columns: list[Column], style: _Style, random: Random) -> None:
    """Give a few cells full-width digits, blanks around the value, or a word for nothing."""
    for _ in range(len(rows) // 4):
        row, index = random.choice(rows), random.randrange(len(columns))
        if not row[index]:
            row[index] = random.choice(("NULL", "", " ", "N/A"))
        elif style.full_width and columns[index].type == "numeric":
            row[index] = row[index].translate(_FULL_WIDTH)
        elif style.blanks:
            row[index] = random.choice((f" {row[index]}", f"{row[index]}  ", f"　{row[index]}　"))


def _total_row(columns: list[Column], lines: Iterable[Line], width: int) -> list[str]:
    row = [""] * width
    for index, column in enumerate(columns):
        if column.name == "slip_date":
            row[index] = "合計"
        elif column.name in ("net_weight", "amount"):
            row[index] = (
                f"{_number(sum(cell for line in lines if isinstance(cell := line[column.name], int | float))):,}"
            )
    return row


def _king_line(number: int, date_text: str, vehicle_type: int, kg: int, random: Random) -> KingLine:
    item = random.choice([item for item in _RECEIVE_ITEMS if item.unit == _KG])
    customer = random.randrange(len(_CLIENTS))
    tare = 10 * random.randint(350, 900)
    return KingLine(
        invoice_no=number,
        invoice_date=date_text,
        vehicle_type_code=vehicle_type,
        vehicle_type="搬入車" if vehicle_type == 1 else "場内車",
        customer_code=501 + customer,
        customer=_CLIENTS[customer].name,
        sales_person_code=_CLIENTS[customer].staff[0],
        sales_person=_CLIENTS[customer].staff[1],
        item_code=item.code,
        item_name=item.name,
        quantity=kg,
        unit_code=item.unit[0],
        unit=item.unit[1],
        unit_price=item.yen_per_unit,
        amount=round(kg * item.yen_per_unit),
        gross_weight_detail=kg + tare,
        tare_weight_detail=tare,
        net_weight_detail=kg,
    )


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < 12 else (year + 1, 1)


def _months(first: tuple[int, int], last: tuple[int, int]) -> list[date]:
    """The first days of the months from `first` to `last` (year, month), both included."""
    months = []
    while first <= last:
        months.append(date(*first, 1))
        first = _next_month(*first)
    return months


def _days_of_month(month: date) -> list[date]:
    return _business_days(month, date(*_next_month(month.year, month.month), 1) - timedelta(days=1))


def _decided_at(month: date) -> datetime:
    """When a month was planned: before any day that the sample's last day can lie on, so never in the future."""
    return datetime(month.year, month.month, 1, 9) - timedelta(days=40)


def _plans(month: date) -> list[_Plan]:
    decided_at = _decided_at(month)
    plans = []
    for day in _days_of_month(month):
        midnight, tons = datetime(day.year, day.month, day.day), round(_expected_tons(day), 1)
        plans.append(_Plan(midnight, tons, "biz", decided_at))
        if day.day == 15:
            plans.append(_Plan(midnight, round(tons - 5, 1), "biz", decided_at + timedelta(days=3)))
    return plans


def _monthly_target(month: date) -> _MonthlyTarget:
    tons = round(sum(map(_expected_tons, _days_of_month(month))) / 10) * 10
    return _MonthlyTarget(
        month, "factory", "inbound", tons, "t", "搬入量の月次目標", _decided_at(month).replace(tzinfo=TIME_ZONE)
    )


def _closures(first_year: int, last_year: int) -> list[_Closure]:
    closures = []
    for year in range(first_year, last_year + 1):
        closures.append(_Closure(date(year, 8, 13), date(year, 8, 16), "夏季休業"))
        closures.append(_Closure(date(year, 12, 30), date(year + 1, 1, 3), "年末年始休業"))
    return closures


def _fill(connection: Connection, table: str, rows: Sequence[KingLine | _Plan | _MonthlyTarget | _Closure]) -> int:
    if not rows or scalar(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(identifier(table))):
        return 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows[0]._fields))
    )
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
    return len(rows)
