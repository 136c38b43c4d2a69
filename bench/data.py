"""The data that everything is measured on: five years of history, filled set-wise, and CSV files of any length.

All of it is made up and the same in every run. The newest days have the same number of lines at every size, so that
an upload weighs the same everywhere; the older days share the rest.
"""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from psycopg import sql

from bench.stage import BUSINESS_DATE, RECEIVE_KIND, Stage
from mv_pipeline.catalog.csv_kinds import CellType, Column, FileKind, find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import KING
from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.demo import sample
from mv_pipeline.refresh.reference import CALENDAR_START
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline.refresh.views import refresh_view

FIRST_DAY = date(BUSINESS_DATE.year - 5, BUSINESS_DATE.month, BUSINESS_DATE.day)
LAST_DAY = BUSINESS_DATE - timedelta(days=1)
LINES_PER_DAY = 135
RECENT_DAYS = 60

_FLASH_KIND = "shogun_flash_receive"
_FLASH_DAYS = 300
_FLASH_SHARE = 0.10
_LINES_PER_SLIP = 1.6
_TEMPLATES = 97
_BLOCK_LINES = 20_000

_ITEMS = (
    (101, "混合廃棄物（可燃）", 1, "廃棄物", 42),
    (110, "木くず", 1, "廃棄物", 18),
    (120, "廃プラスチック類", 1, "廃棄物", 38),
    (130, "コンクリートがら", 1, "廃棄物", 7),
    (150, "石膏ボード", 1, "廃棄物", 30),
    (201, "鉄スクラップ", 3, "有価物", 28),
    (203, "古段ボール", 3, "有価物", 8),
)
_VENDORS = ("架空建設 本店", "見本商事 資材部", "例示工務店", "仮名ホーム 東仮名支店", "幻解体工業", "竜宮内装")
_CLIENTS = ("株式会社架空建設", "見本商事株式会社", "有限会社例示工務店", "株式会社仮名ホーム", "株式会社幻解体工業")
_CLIENT_CODES = ("000101", "000115", "000A12", "00B007", "012C05")
_STAFF = ("見本 太郎", "例示 花子", "仮名 一郎", "架空 さくら", "試作 次郎")
_SITES = ("雲上町1号新築工事", "竜宮台2号解体工事", "月面ヶ丘3号改修工事", "桃源郷4号新築工事")

# {n} numbers the lines of a source, {i} those of a day; both begin at 1.
_VALUES = {
    "slip_date": "p.ddate",
    "sales_date": "p.ddate",
    "vendor_cd": "1001 + n % 180",
    "vendor_name": "v.vendors[1 + n % 6]",
    "slip_type_cd": "1",
    "slip_type_name": "'売上'",
    "item_cd": "101 + n % 60",
    "item_name": "v.items[1 + n % 7]",
    "net_weight": "10 * (2 + n * 7919 % 400)",
    "quantity": "10 * (2 + n * 7919 % 400)",
    "unit_cd": "1",
    "unit_name": "'kg'",
    "unit_price": "7.5 + n % 40",
    "amount": "10 * (2 + n * 7919 % 400) * (7.5 + n % 40)",
    "receive_no": f"1 + trunc(n / {_LINES_PER_SLIP})",
    "aggregate_item_cd": "1 + n % 9",
    "aggregate_item_name": "'混合廃棄物'",
    "category_cd": "CASE WHEN n % 7 < 5 THEN 1 ELSE 3 END",
    "category_name": "CASE WHEN n % 7 < 5 THEN '廃棄物' ELSE '有価物' END",
    "weighing_time_gross": "time '08:00' + i % 540 * interval '1 minute'",
    "weighing_time_empty": "time '08:12' + i % 540 * interval '1 minute'",
    "site_cd": "1 + n % 54",
    "site_name": "v.sites[1 + n % 4]",
    "unload_vendor_cd": "1",
    "unload_vendor_name": "'見本リサイクル工場'",
    "unload_site_cd": "1",
    "unload_site_name": "'第一見本ヤード'",
    "transport_vendor_cd": "9001 + n % 5",
    "transport_vendor_name": "'ダミー運輸株式会社'",
    "client_cd": "ltrim(v.client_codes[1 + n % 5], '0')",
    "client_name": "v.clients[1 + n % 5]",
    "manifest_type_cd": "1",
    "manifest_type_name": "'産廃（直行）'",
    "manifest_no": "(10000000000 + n)::text",
    "sales_staff_cd": "11 + n % 5",
    "sales_staff_name": "v.staff[1 + n % 5]",
}
_RAW_TEXT: dict[CellType, str] = {"date": "to_char({}, 'YYYY/MM/DD')", "time": "to_char({}, 'HH24:MI')"}


@dataclass(frozen=True)
class DayPlan:
    """How many lines a source has on a day."""

    day: date
    lines: int


def business_days(first: date, last: date) -> list[date]:
    """Mondays to Saturdays from `first` to `last`, both included."""
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 6]


def history_days() -> list[date]:
    """The business days that final lines are filled for."""
    return business_days(FIRST_DAY, LAST_DAY)


def recent_days(number: int) -> list[date]:
    """The newest business days of the history, oldest first; each has LINES_PER_DAY lines at every size."""
    if number > RECENT_DAYS:
        raise ValueError(f"Only {RECENT_DAYS} days have the same number of lines at every size.")
    return history_days()[-number:]


def fill_history(connection: Connection, catalog: Catalog, rows: int) -> None:
    """Fill final, flash and king receive lines that together are `rows`, and bring everything up to date.

    Args:
        connection: in autocommit mode, to a migrated database without lines.
        catalog: whose views are refreshed.
        rows: staging rows, at least 100 for each of the newest days.
    """
    days = history_days()
    king_days = business_days(CALENDAR_START, FIRST_DAY - timedelta(days=1))
    flash = int(rows * _FLASH_SHARE)
    # King had as many lines a day as its successor.
    king = int((rows - flash) * len(king_days) / (len(king_days) + len(days)))
    _fill_kind(connection, find_kind(RECEIVE_KIND), _share_out(days, rows - flash - king))
    _fill_kind(connection, find_kind(_FLASH_KIND), _share_out(days[-_FLASH_DAYS:], flash))
    _fill_king(connection, _share_out(king_days, king, recent=0))
    with connection.transaction():
        sample.fill_inputs(connection, LAST_DAY)
    for rollup in catalog.rollups:
        with connection.transaction():
            update_rollup(connection, rollup)
    for view in catalog.materialized_views:
        refresh_view(connection, view)
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")


def fill_raw(connection: Connection, kind: FileKind) -> None:
    """Fill a kind's raw table with the text of the staging rows whose uploads have no raw lines yet."""
    raw, stg = identifier(f"raw.{kind.name}"), identifier(f"stg.{kind.name}")
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in kind.columns)
    texts = sql.SQL(", ").join(
        sql.SQL(_RAW_TEXT.get(column.type, "{}::text")).format(sql.Identifier(column.name)) for column in kind.columns
    )
    connection.execute(
        sql.SQL(
            "INSERT INTO {raw} ({columns}, upload_file_id, source_row_no) "
            "SELECT {texts}, upload_file_id, source_row_no FROM {stg} "
            "WHERE upload_file_id NOT IN (SELECT upload_file_id FROM {raw}) ORDER BY id"
        ).format(raw=raw, stg=stg, columns=columns, texts=texts)
    )
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(raw))


def _share_out(days: Sequence[date], rows: int, recent: int = RECENT_DAYS) -> list[DayPlan]:
    """Give the newest days LINES_PER_DAY lines each, and share the other rows out evenly among the older days."""
    older = days[: len(days) - recent]
    rest = rows - recent * LINES_PER_DAY
    if rest < len(older):
        raise ValueError(f"{rows} rows are too few for {len(days)} days.")
    each, extra = divmod(rest, len(older))
    plan = [DayPlan(day, each + (number < extra)) for number, day in enumerate(older)]
    return plan + [DayPlan(day, LINES_PER_DAY) for day in days[len(older) :]]


def _fill_kind(connection: Connection, kind: FileKind, plan: list[DayPlan]) -> None:
    """Fill a kind's staging table as one upload a month would have done."""
    columns = [column for column in kind.columns if column.name in _VALUES]
    with connection.transaction():
        _write_plan(connection, plan, _log_uploads(connection, kind, plan))
        with silent_triggers(connection, f"stg.{kind.name}"):
            connection.execute(
                sql.SQL(
                    "INSERT INTO {stg} ({names}, upload_file_id, source_row_no) SELECT {values}, p.upload_file_id, "
                    "p.lines_before_in_upload + i FROM day_plan AS p CROSS JOIN {arrays} "
                    "CROSS JOIN LATERAL (SELECT i, p.lines_before + i AS n FROM generate_series(1, p.lines) AS i) AS l "
                    "ORDER BY p.ddate, i"
                ).format(
                    stg=identifier(f"stg.{kind.name}"),
                    names=sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
                    values=sql.SQL(", ").join(
                        sql.SQL("({})::{}").format(sql.SQL(_VALUES[c.name]), sql.SQL(c.pg_type)) for c in columns
                    ),
                    arrays=_arrays(),
                )
            )


def _fill_king(connection: Connection, plan: list[DayPlan]) -> None:
    with connection.transaction():
        _write_plan(connection, plan, {})
        with silent_triggers(connection, KING.name):
            connection.execute(
                sql.SQL(
                    "INSERT INTO {} (invoice_no, invoice_date, vehicle_type_code, vehicle_type, customer_code, "
                    "customer, sales_person_code, sales_person, item_code, item_name, quantity, unit_code, unit, "
                    "unit_price, amount, gross_weight_detail, tare_weight_detail, net_weight_detail) "
                    "SELECT 1 + trunc(n / 1.6), to_char(p.ddate, 'YYYY-MM-DD'), 1 + (n % 50 = 0)::integer, '搬入車', "
                    "501 + n % 18, v.clients[1 + n % 5], 11 + n % 5, v.staff[1 + n % 5], 101 + n % 60, "
                    "v.items[1 + n % 7], kg, 1, 'kg', 7 + n % 40, kg * (7 + n % 40), kg + 4200, 4200, kg "
                    "FROM day_plan AS p CROSS JOIN {} CROSS JOIN LATERAL (SELECT p.lines_before + i AS n, "
                    "10 * (2 + (p.lines_before + i) * 7919 % 400) AS kg FROM generate_series(1, p.lines) AS i) AS l "
                    "ORDER BY p.ddate, n"
                ).format(identifier(KING.name), _arrays())
            )


def _write_plan(connection: Connection, plan: list[DayPlan], uploads: dict[tuple[int, int], int]) -> None:
    connection.execute("DROP TABLE IF EXISTS pg_temp.day_plan")
    connection.execute(
        "CREATE TEMP TABLE day_plan (ddate date, lines integer, lines_before bigint, upload_file_id integer, "
        "lines_before_in_upload integer)"
    )
    before, before_in_upload, current = 0, 0, None
    with connection.cursor().copy("COPY day_plan FROM STDIN") as copy:
        for day in plan:
            month = (day.day.year, day.day.month)
            before_in_upload = before_in_upload if month == current else 0
            copy.write_row((day.day, day.lines, before, uploads.get(month), before_in_upload))
            before, before_in_upload, current = before + day.lines, before_in_upload + day.lines, month


def _log_uploads(connection: Connection, kind: FileKind, plan: list[DayPlan]) -> dict[tuple[int, int], int]:
    months: dict[tuple[int, int], list[DayPlan]] = {}
    for day in plan:
        months.setdefault((day.day.year, day.day.month), []).append(day)
    uploads: dict[tuple[int, int], int] = {}
    for month, days in months.items():
        row = connection.execute(
            "INSERT INTO log.upload_file (file_name, file_hash, file_type, csv_type, row_count, uploaded_by, "
            "processing_status, metadata) VALUES (%s, %s, %s, %s, %s, 'bench', 'success', %s) RETURNING id",
            [
                f"{month[0]}-{month[1]:02}.csv",
                f"{kind.name} {month}",
                kind.version.upper(),
                kind.list.csv_type,
                sum(day.lines for day in days),
                json.dumps({"first_day": days[0].day.isoformat(), "last_day": days[-1].day.isoformat()}),
            ],
        ).fetchone()
        assert row is not None
        uploads[month] = row[0]
    return uploads


@contextlib.contextmanager
def silent_triggers(connection: Connection, table: str) -> Iterator[None]:
    """Let a set-wise fill go without one transition table for all of it; every day is logged as changed instead."""
    connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(identifier(table)))
    yield
    connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(identifier(table)))
    connection.execute("INSERT INTO log.change_note (relation) VALUES (%s)", [table])


def _arrays() -> sql.Composed:
    named = {
        "vendors": _VENDORS,
        "items": [item[1] for item in _ITEMS],
        "clients": _CLIENTS,
        "client_codes": _CLIENT_CODES,
        "staff": _STAFF,
        "sites": _SITES,
    }
    columns = sql.SQL(", ").join(
        sql.SQL("{}::text[] AS {}").format(sql.Literal(list(values)), sql.Identifier(name))
        for name, values in named.items()
    )
    return sql.SQL("(SELECT {}) AS v").format(columns)


# CSV files, as the trade system exports them


def write_receive_file(
    path: Path, days: Sequence[date], lines_per_day: int, seed: int, most: int | None = None
) -> Path:
    """Write a list of receive lines in CP932, with weekdays in dates and thousands separators in weights and amounts.

    Args:
        path: of the file; its folder has to exist.
        days: the slip dates, in order.
        lines_per_day: for each of them.
        seed: another seed gives other weights.
        most: end after this many lines.

    Returns:
        The path.
    """
    columns = find_kind(RECEIVE_KIND).columns
    with path.open("w", encoding="cp932", newline="") as file:
        file.write(",".join(column.header for column in columns) + "\r\n")
        block: list[str] = []
        for line in itertools.islice(_receive_lines(columns, days, lines_per_day, seed), most):
            block.append(line)
            if len(block) == _BLOCK_LINES:
                file.write("".join(block))
                block.clear()
        file.write("".join(block))
    return path


def write_days(stage: Stage, days: Sequence[date], seed: int) -> Path:
    """Write a receive file of some of the newest days, outside of the inbox."""
    folder = stage.settings.home / "files"
    folder.mkdir(exist_ok=True)
    return write_receive_file(folder / f"{days[0]}-{len(days)}-{seed}.csv", days, LINES_PER_DAY, seed)


def put(stage: Stage, path: Path) -> Path:
    """Put a copy of a receive file into the inbox, and return the copy's path."""
    return Path(shutil.copy(path, stage.settings.inbox_dir / RECEIVE_KIND))


def _receive_lines(columns: Sequence[Column], days: Sequence[date], lines_per_day: int, seed: int) -> Iterator[str]:
    templates = [_template(columns, number) for number in range(_TEMPLATES)]
    number = 0
    for day in days:
        day_text = f"{day:%Y/%m/%d}({'月火水木金土日'[day.weekday()]})"
        first_slip = 200 * (day - CALENDAR_START).days * max(1, lines_per_day // LINES_PER_DAY)
        for position in range(lines_per_day):
            number += 1
            kg = 10 * (2 + (number * 7919 + seed * 104_729) % 400)
            minutes = 480 + position % 540
            yield templates[number % _TEMPLATES] % {
                "day": day_text,
                "kg": f'"{kg:,}"' if kg >= 1000 else kg,
                "yen": f'"{kg * 38:,}"',
                "slip": first_slip + int(position / _LINES_PER_SLIP),
                "gross": f"{minutes // 60}:{minutes % 60:02}",
                "empty": f"{(minutes + 12) // 60}:{(minutes + 12) % 60:02}",
                "manifest": 10_000_000_000 + number,
            }


def _template(columns: Sequence[Column], number: int) -> str:
    item = _ITEMS[number % len(_ITEMS)]
    client = number % len(_CLIENTS)
    cells = {
        "slip_date": "%(day)s",
        "sales_date": "%(day)s",
        "vendor_cd": f"{1001 + number:06}",
        "vendor_name": _VENDORS[number % len(_VENDORS)],
        "slip_type_cd": 1,
        "slip_type_name": "売上",
        "item_cd": f"{item[0]:06}",
        "item_name": item[1],
        "net_weight": "%(kg)s",
        "quantity": "%(kg)s",
        "unit_cd": 1,
        "unit_name": "kg",
        "unit_price": 38,
        "amount": "%(yen)s",
        "receive_no": "%(slip)s",
        "aggregate_item_cd": 1 + number % 9,
        "aggregate_item_name": "混合廃棄物",
        "category_cd": item[2],
        "category_name": item[3],
        "weighing_time_gross": "%(gross)s",
        "weighing_time_empty": "%(empty)s",
        "site_cd": f"{1 + number % 54:06}",
        "site_name": _SITES[number % len(_SITES)],
        "unload_vendor_cd": "000001",
        "unload_vendor_name": "見本リサイクル工場",
        "unload_site_cd": "000001",
        "unload_site_name": "第一見本ヤード",
        "transport_vendor_cd": "009102",
        "transport_vendor_name": "ダミー運輸株式会社",
        "client_cd": _CLIENT_CODES[client],
        "client_name": _CLIENTS[client],
        "manifest_type_cd": 1,
        "manifest_type_name": "産廃（直行）",
        "manifest_no": "%(manifest)s",
        "sales_staff_cd": 11 + number % len(_STAFF),
        "sales_staff_name": _STAFF[number % len(_STAFF)],
    }
    return ",".join(str(cells.get(column.name, "")) for column in columns) + "\r\n"
