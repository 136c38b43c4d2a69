"""Sample data for the demo and for tests: CSV files as the trade system exports them, and what people keep in tables.

The names and numbers are in sample.yaml. A day's content follows from the seed and the day, never from a clock. Bad
files for tests of rejection don't belong here, because every file made here can be loaded.
"""

import csv
import functools
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, CellType, Column, CsvList, FileKind
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.intake.backfill import months
from mv_pipeline.settings import TIME_ZONE

Cell = date | int | float | str | None
Line = dict[str, Cell]

_KING_START = date(2021, 1, 4)
_FLASH_ONLY_DAYS = 2
_NUMBERING_START = date(2021, 1, 1).toordinal()
_FULL_WIDTH = str.maketrans("0123456789,.", "０１２３４５６７８９，．")


class _Item(NamedTuple):
    code: int
    name: str
    group: str
    category: int
    unit: str
    kg_per_unit: float
    yen_per_unit: float
    frequency: int


@functools.cache
def _names() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("sample.yaml").read_text(encoding="utf-8"))
    return data


@functools.cache
def _items(csv_type: str) -> list[_Item]:
    return [_Item(*item) for item in _names()["lists"][csv_type]["items"]]


def write_files(folder: Path, last_day: date, weeks: int = 4, seed: int = 1) -> list[Path]:
    """Write sample files of every kind, `<folder>/<kind>/<name>.csv`; a file of that name is overwritten.

    Each kind has one file per seven days up to the last day. Final files leave out the two newest business days, which
    only flash has.

    Returns:
        The files in the order in which they should be dropped: older before newer, flash before final.
    """
    first = _first_day(last_day, weeks)
    days = _business_days(first, last_day)
    kinds = sorted(KINDS, key=lambda kind: kind.version == "final")
    paths = []
    for week in range(weeks):
        start = first + timedelta(days=7 * week)
        for position, kind in enumerate(kinds):
            known = days if kind.version == "flash" else days[:-_FLASH_ONLY_DAYS]
            covered = [day for day in known if start <= day < start + timedelta(days=7)]
            if not covered:
                continue
            lines = [line for day in covered for line in _kinds_lines(kind, day, seed)]
            title = _names()["file_names"].get(kind.list.csv_type, f"{kind.list.title}一覧")
            path = folder / kind.name / f"{title}_{covered[0]:%Y%m%d}-{covered[-1]:%Y%m%d}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            quirks = _quirks(week * len(kinds) + position)
            path.write_bytes(_file_bytes(kind, lines, quirks, _random(seed, path.name, kind.name)))
            paths.append(path)
    return paths


def fill_inputs(connection: Connection, last_day: date, weeks: int = 4, seed: int = 1) -> dict[str, int]:
    """Fill king's history, plans, targets and closures where they are empty, in the caller's transaction.

    The arguments are those of `write_files`: history ends the day before the files begin.

    Returns:
        The number of rows written by table; 0 for a table that had rows already and was left as it is.
    """
    first = _first_day(last_day, weeks)
    planned = months(date(first.year - 1, first.month, 1), _next_month(_next_month(last_day)) - timedelta(days=1))
    business_days = {month: _business_days(month, end) for month, end in planned}
    rows = {
        "stg.receive_king_final": _king_rows(_KING_START, first - timedelta(days=1), seed),
        "mart.daily_target_plan": [plan for month, days in business_days.items() for plan in _plans(month, days)],
        "kpi.monthly_targets": [_monthly_target(month, days) for month, days in business_days.items()],
        "ref.closure_periods": [
            closure for year in range(_KING_START.year - 1, last_day.year + 2) for closure in _closures(year)
        ],
    }
    return {table: _fill(connection, table, content) for table, content in rows.items()}


def _first_day(last_day: date, weeks: int) -> date:
    return last_day - timedelta(days=7 * weeks - 1)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _business_days(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if not _is_closed(day)]


def _is_closed(day: date) -> bool:
    """Whether it is no business day to the calendar; holidays and other Sundays are (spec: Reference tables)."""
    if day.weekday() == 6 and 8 <= day.day <= 14:
        return True
    closures = _closures(day.year - 1) + _closures(day.year)
    return any(closure["start_date"] <= day <= closure["end_date"] for closure in closures)


@functools.cache
def _closures(year: int) -> list[dict[str, Any]]:
    """The closures that begin in a year; one may end in the next."""
    return [
        {"start_date": date(year, *first), "end_date": date(year + (last < first), *last), "closure_name": name}
        for name, first, last in _names()["closures"]
    ]


def _random(*seed: object) -> Random:
    """A generator of its own for each day or file, so that a longer span doesn't change the days that are in both."""
    return Random(":".join(map(str, seed)))  # noqa: S311  # made-up data hides nothing


def _expected_tons(day: date) -> float:
    tons = _names()["tons"]
    factor: float = tons["mean"] * tons["weekdays"][day.weekday()] * tons["months"][day.month - 1]
    return factor


def _kinds_lines(kind: FileKind, day: date, seed: int) -> list[Line]:
    """A day's lines of a kind; those of flash are made of the same list's."""
    lines = _make_lines(kind.list, day, _random(seed, kind.list.csv_type, day))
    return _as_flash(lines, _random(seed, kind.name, day)) if kind.version == "flash" else lines


def _make_lines(csv_list: CsvList, day: date, random: Random) -> list[Line]:
    """A day's lines of a list; one that sample.yaml doesn't know gets lines made from its columns alone."""
    numbers = _names()["lists"].get(csv_list.csv_type)
    if not numbers:
        return _plain_lines(csv_list, day, random)
    lines: list[tuple[Line, _Item]] = []
    sizes = _slip_sizes(random.randint(*numbers["weekend_lines" if day.weekday() >= 5 else "lines"]), random)
    first_number = numbers["first_number"] + numbers["numbers_a_day"] * (day.toordinal() - _NUMBERING_START)
    for number, size in enumerate(sizes, start=1):
        slip = {
            "slip_date": day,
            csv_list.slip_number: first_number + number,
            **_slip(csv_list.csv_type, 8 * 60 + number * 530 // len(sizes), random),
        }
        for item in _pick_items(_items(csv_list.csv_type), size, random):
            is_payment = item.category == numbers["paid"]
            line = {
                **slip,
                **_item_cells(item),
                "sales_date": day,
                "payment_date": day if is_payment else None,
                "slip_type_cd": 2 if is_payment else 1,
                "slip_type_name": "支払" if is_payment else "売上",
            }
            if item.category != 1:
                line |= dict.fromkeys(("manifest_type_cd", "manifest_type_name", "manifest_no"))
            lines.append((line, item))
    return _weigh(lines, numbers["share"] * _expected_tons(day) * random.uniform(*numbers["spread"]), random)


def _slip_sizes(lines: int, random: Random) -> list[int]:
    sizes: list[int] = []
    while lines:
        sizes.append(min(lines, random.choices((1, 2, 3), (55, 30, 15))[0]))
        lines -= sizes[-1]
    return sizes


def _slip(csv_type: str, minutes: int, random: Random) -> Line:
    """Who brings or fetches what, and when; cells of columns that a list doesn't have are left out of its files."""
    names = _names()
    if csv_type == "shipment":
        buyer, transporter = random.choice(names["buyers"]), random.choice(names["transporters"])
        note = random.choice(names["notes"]) if random.random() < 0.15 else None
        who = _pairs(vendor=buyer, client=buyer, transport_vendor=transporter, site=names["plant_site"])
        return {**who, "detail_note": note}
    vendor_code, vendor_name, client_code, sites = random.choice(names["vendors"])
    client_name, staff = names["clients"][client_code]
    who = _pairs(
        vendor=(vendor_code, vendor_name),
        client=(client_code, client_name),
        sales_staff=(staff, names["staff"][staff]),
    )
    if csv_type == "yard":
        return who
    transporter = random.choice(names["transporters"])
    site = random.choice(sites) if random.random() < 0.9 else (None, None)
    arrival = minutes + random.randint(0, 5)
    return {
        **who,
        **_pairs(site=site, transport_vendor=transporter),
        **_pairs(unload_vendor=names["plant"], unload_site=names["plant_site"]),
        "manifest_type_cd": 1,
        "manifest_type_name": "産廃（直行）",
        "manifest_no": f"{random.randint(10**10, 10**11 - 1)}",
        "weighing_time_gross": _time(arrival),
        "weighing_time_empty": _time(arrival + random.randint(6, 25)),
    }


def _pairs(**coded: Sequence[Any]) -> Line:
    """The cells of columns that come in twos: `…_cd` and `…_name`."""
    return {f"{name}_{part}": pair[place] for name, pair in coded.items() for place, part in enumerate(("cd", "name"))}


def _time(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"


def _pick_items(items: Sequence[_Item], number: int, random: Random) -> list[_Item]:
    """Draw different items, because two equal ones on a slip could not be told apart."""
    picked: dict[int, _Item] = {}
    while len(picked) < number:
        item = random.choices(items, [item.frequency for item in items])[0]
        picked[item.code] = item
    return list(picked.values())


def _item_cells(item: _Item) -> Line:
    names = _names()
    return _pairs(
        item=(f"{item.code:06}", item.name),
        unit=(names["units"][item.unit], item.unit),
        aggregate_item=(names["groups"][item.group], item.group),
        category=(item.category, names["categories"][item.category]),
    )


def _weigh(lines: list[tuple[Line, _Item]], tons: float, random: Random) -> list[Line]:
    """Share out a day's tons in steps of the scale (10 kg), and price each line."""
    shares = [0.2 + 2 * random.random() * random.random() if item.kg_per_unit else 0 for _, item in lines]
    kg_per_share = tons * 1000 / sum(shares)
    weighed = []
    for (line, item), share in zip(lines, shares, strict=True):
        kg = round(share * kg_per_share / 10) * 10
        quantity = _number(kg / item.kg_per_unit) if item.kg_per_unit else 1
        price = item.yen_per_unit
        weighed.append(
            line | {"net_weight": kg, "quantity": quantity, "unit_price": price, "amount": _number(quantity * price)}
        )
    return weighed


def _number(value: float) -> int | float:
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


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


def _as_flash(lines: list[Line], random: Random) -> list[Line]:
    """What the office sees before closing: a line is missing here and there, and some aren't priced yet."""
    seen = []
    for line in lines:
        chance = random.random()
        if chance >= 0.015:
            seen.append(line if chance >= 0.05 else line | {"unit_price": None, "amount": None})
    return seen or lines


def _quirks(number: int) -> set[str]:
    """What one file's export looks like (spec: CSV files as they really come), by its place in the drop order."""
    return {
        name
        for name, (every, remainders) in _names()["quirks"].items()
        if (number % every if every else number) in remainders
    }


def _file_bytes(kind: FileKind, lines: list[Line], quirks: set[str], random: Random) -> bytes:
    columns = list(kind.columns)
    if "reordered" in quirks:
        random.shuffle(columns)
    rows = [[_text(line.get(column.name), column, quirks) for column in columns] for line in lines]
    _roughen(rows, columns, quirks, random)
    names = [column.name for column in columns]
    if "note_with_newline" in quirks and "detail_note" in names:
        rows[0][names.index("detail_note")] = _names()["newline_note"]
    headers = [column.header for column in columns]
    if "blanks" in quirks:
        headers[-1] = f"{headers[-1]}　"
    if "extra_column" in quirks:
        headers.append("車輌番号")
        for row in rows:
            row.append(f"架空{random.randint(100, 999)}")
    if "total" in quirks:
        totals = {name: _total(lines, name) for name in ("net_weight", "amount")} | {"slip_date": "合計"}
        rows.append([totals.get(name, "") for name in names] + [""] * (len(headers) - len(names)))
    if "blank_lines" in quirks:
        rows.insert(len(rows) // 2, [])
        rows.append([""] * len(headers))
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([headers, *rows])
    return text.getvalue().encode("utf-8" if "utf8" in quirks else "utf-8-sig" if "utf8_bom" in quirks else "cp932")


def _text(cell: Cell, column: Column, quirks: set[str]) -> str:
    if cell is None:
        return ""
    if isinstance(cell, date):
        if "iso_dates" in quirks:
            return cell.isoformat()
        if "unpadded_dates" in quirks:
            return f"{cell.year}/{cell.month}/{cell.day}"
        return f"{cell:%Y/%m/%d}({'月火水木金土日'[cell.weekday()]})"
    if column.type == "numeric" and "thousands" in quirks:
        return f"{cell:,}"
    return f"{cell:0>5}:00" if column.type == "time" and "long_times" in quirks else str(cell)


def _roughen(rows: list[list[str]], columns: list[Column], quirks: set[str], random: Random) -> None:
    """Give a few cells full-width digits, blanks around the value, or a word for nothing."""
    for _ in range(len(rows) // 4):
        row, index = random.choice(rows), random.randrange(len(columns))
        if not row[index]:
            row[index] = random.choice(("NULL", "", " ", "N/A"))
        elif "full_width" in quirks and columns[index].type == "numeric":
            row[index] = row[index].translate(_FULL_WIDTH)
        elif "blanks" in quirks:
            row[index] = random.choice((f" {row[index]}", f"{row[index]}  ", f"　{row[index]}　"))


def _total(lines: Sequence[Line], name: str) -> str:
    return f"{_number(sum(cell for line in lines if isinstance(cell := line[name], int | float))):,}"


def _king_rows(first: date, last: date, seed: int) -> list[dict[str, Any]]:
    """Make the lines of the system used before the trade system; weights are kg, amounts yen.

    A day has four to six lines, of which those that count weigh about 60 to 110 t together. A few lines have
    another vehicle type, no weight or an impossible date; dates are text in two spellings.
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
        odd_lines = ((0.02, date_text, 2, 1200), (0.04, date_text, 1, 0), (0.05, f"{day:%Y}/02/30", 1, 900))
        for limit, text, vehicle_type, kg in odd_lines:
            if oddity < limit:
                rows.append(_king_line(number, text, vehicle_type, kg, random))
                break
    return rows


def _king_line(number: int, date_text: str, vehicle_type: int, kg: int, random: Random) -> dict[str, Any]:
    names = _names()
    item = random.choice([item for item in _items("receive") if item.unit == "kg"])
    customer = random.randrange(len(names["clients"]))
    customer_name, staff = list(names["clients"].values())[customer]
    tare = 10 * random.randint(350, 900)
    return {
        "invoice_no": number,
        "invoice_date": date_text,
        "vehicle_type_code": vehicle_type,
        "vehicle_type": "搬入車" if vehicle_type == 1 else "場内車",
        "customer_code": 501 + customer,
        "customer": customer_name,
        "sales_person_code": staff,
        "sales_person": names["staff"][staff],
        "item_code": item.code,
        "item_name": item.name,
        "quantity": kg,
        "unit_code": names["units"][item.unit],
        "unit": item.unit,
        "unit_price": item.yen_per_unit,
        "amount": round(kg * item.yen_per_unit),
        "gross_weight_detail": kg + tare,
        "tare_weight_detail": tare,
        "net_weight_detail": kg,
    }


def _decided_at(month: date) -> datetime:
    """When a month was planned: before any day that the sample's last day can lie on, so never in the future."""
    return datetime(month.year, month.month, 1, 9) - timedelta(days=40)


def _plans(month: date, days: Sequence[date]) -> list[dict[str, Any]]:
    plans: list[dict[str, Any]] = []
    for day in days:
        tons = round(_expected_tons(day), 1)
        plan = {"ddate": day, "target_ton": tons, "scope_used": "biz", "created_at": _decided_at(month)}
        plans.append(plan)
        if day.day == 15:
            later = _decided_at(month) + timedelta(days=3)
            plans.append(plan | {"target_ton": round(tons - 5, 1), "created_at": later})
    return plans


def _monthly_target(month: date, days: Sequence[date]) -> dict[str, Any]:
    return {
        "month_date": month,
        "segment": "factory",
        "metric": "inbound",
        "value": round(sum(map(_expected_tons, days)) / 10) * 10,
        "unit": "t",
        "label": "搬入量の月次目標",
        "updated_at": _decided_at(month).replace(tzinfo=TIME_ZONE),
    }


def _fill(connection: Connection, table: str, rows: Sequence[dict[str, Any]]) -> int:
    if not rows or scalar(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(identifier(table))):
        return 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    )
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))
    return len(rows)
