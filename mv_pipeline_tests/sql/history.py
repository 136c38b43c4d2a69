"""Histories for the tests of the views: how rows get into a database, and the counting that several tests share.

What is expected is computed with pandas from what was put in: the lines of CSV files and the rows of tables that
people or the old system keep. No view and no rollup is read for it.
"""

import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import cast

import pandas as pd
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection, Database, identifier
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.refresh.views import Refresh, refresh_view
from mv_pipeline.settings import Settings
from mv_pipeline_tests import factory
from mv_pipeline_tests.conftest import create_database, drop_database

FIRST_DAY, LAST_DAY = date(2021, 1, 1), date(2026, 12, 31)
TODAY = date(2025, 12, 11)

RECEIVE_SOURCES = ("shogun_final", "shogun_flash", "king")
SHOGUN_SOURCES = RECEIVE_SOURCES[:2]

Row = dict[str, object]
_numbers = itertools.count(1)


def days_between(first: date, last: date) -> list[date]:
    """Every day from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


# Putting rows in, and reading what came of them


@dataclass(frozen=True)
class Plant:
    """A database with everything that leads into it, and one connection to it."""

    connection: Connection
    settings: Settings
    catalog: Catalog

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Take back whatever the block does, so that the next test finds the database as it was."""
        with self.connection.transaction(force_rollback=True):
            yield

    def set_today(self, day: date) -> None:
        """Move the business date, within a trial until that ends."""
        local = self.connection.info.transaction_status.name != "IDLE"
        self.connection.execute("SELECT set_config('mv_pipeline.business_date', %s, %s)", [day.isoformat(), local])

    def upload(self, kind: str, lines: Iterable[Mapping[str, str]]) -> Upload:
        """Drop the lines into the inbox as a CSV file, and let it be loaded."""
        return self.take(
            kind, factory.drop(self.settings.inbox_dir, kind, f"{next(_numbers)}.csv", factory.csv_text(lines))
        )

    def take(self, kind: str, path: Path) -> Upload:
        """Let a file of the inbox be loaded."""
        upload = take_file(self.connection, self.settings, find_kind(kind), path, "test")
        assert upload is not None
        assert upload.status == "loaded", upload.message
        return upload

    def insert(self, table: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Put rows straight into a table; all of them name the same columns."""
        if not rows:
            return
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows[0]))
        )
        with self.connection.cursor().copy(statement) as copy:
            for row in rows:
                assert row.keys() == rows[0].keys()
                copy.write_row(list(row.values()))

    def bring_up_to_date(self, *views: str) -> dict[str, Refresh]:
        """Update every rollup; refresh these materialized views and those they read, or, without names, all."""
        factory.roll_up(self.connection, self.catalog)
        wanted = {*views, *(name for view in views for name in self.catalog.upstream(view))}
        return {
            view.name: refresh_view(self.connection, view)
            for view in self.catalog.materialized_views
            if not views or view.name in wanted
        }

    def query(self, statement: str | sql.Composable) -> pd.DataFrame:
        """Run a query; days become timestamps, everything else stays as psycopg gives it."""
        cursor = self.connection.execute(statement)  # type: ignore[arg-type]
        columns = [column.name for column in cursor.description or ()]
        table = pd.DataFrame(cursor.fetchall(), columns=columns, dtype=object)
        for column in cursor.description or ():
            if column.type_display == "date":
                table[column.name] = pd.to_datetime(table[column.name])
        return table

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table or view."""
        return self.query(sql.SQL("SELECT * FROM {}").format(identifier(name)))

    def rows(self, name: str, **where: object) -> list[Row]:
        """The rows of a table or view with these values."""
        conditions = [sql.SQL("{} = %s").format(sql.Identifier(column)) for column in where]
        statement = sql.SQL("SELECT * FROM {} WHERE {}").format(identifier(name), sql.SQL(" AND ").join(conditions))
        cursor = self.connection.execute(statement, list(where.values()))
        columns = [column.name for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    def row(self, name: str, **where: object) -> Row:
        """The one row of a table or view with these values."""
        rows = self.rows(name, **where)
        assert len(rows) == 1, f"{name} has {len(rows)} rows where {where}"
        return rows[0]

    def values(self, name: str, columns: str, **where: object) -> tuple[object, ...]:
        """Some columns, named with blanks between, of the one row with these values."""
        row = self.row(name, **where)
        return tuple(row[column] for column in columns.split())


@contextmanager
def new_plant(server: Settings, template: str, catalog: Catalog, home: Path) -> Iterator[Plant]:
    """A migrated database of one's own in which today is TODAY."""
    url = create_database(server, template)
    settings = Settings(home=home, database_url=url, settle_seconds=0)
    prepare_folders(settings)
    with Database(url=url).connect() as connection:
        yield Plant(connection, settings, catalog)
    drop_database(server, url)


def receive_line(day: date, slip: int | None, kg: object, yen: object = None, **cells: object) -> dict[str, str]:
    """A line of the receive list; flash and final have the same columns."""
    return _line("receive", slip_date=f"{day:%Y/%m/%d}", receive_no=slip, net_weight=kg, amount=yen, **cells)


def shipment_line(day: date, slip: int | None, kg: object, yen: object = None, **cells: object) -> dict[str, str]:
    """A line of the shipment list."""
    return _line("shipment", slip_date=f"{day:%Y/%m/%d}", shipment_no=slip, net_weight=kg, amount=yen, **cells)


def yard_line(day: date, slip: int | None, kg: object, yen: object = None, **cells: object) -> dict[str, str]:
    """A line of the yard list."""
    return _line("yard", slip_date=f"{day:%Y/%m/%d}", slip_no=slip, net_weight=kg, amount=yen, **cells)


def _line(csv_type: str, **cells: object) -> dict[str, str]:
    written = {name: "" if cell is None else cell for name, cell in cells.items()}
    return factory.line(f"shogun_final_{csv_type}", **written)


def king_row(
    day: date | str | None, invoice: int, kg: int | None, yen: int | None = 0, vehicle_type: int | None = 1
) -> Row:
    """A row of the old system."""
    return {
        "invoice_no": invoice,
        "invoice_date": day.isoformat() if isinstance(day, date) else day,
        "vehicle_type_code": vehicle_type,
        "net_weight_detail": kg,
        "amount": yen,
    }


def king_tons(tons: Mapping[date, float]) -> list[Row]:
    """One row of the old system a day, weighing so many tons."""
    return [king_row(day, number, round(weight * 1000)) for number, (day, weight) in enumerate(tons.items())]


# Reading CSV files on our own (spec: CSV files as they really come)


def read_lines(path: Path) -> pd.DataFrame:
    """The lines of a list by header, as text without blanks around it, None for nothing; without the total line."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp932")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    lines = pd.DataFrame(
        [[_text(cell) for cell in row] for row in rows if any(cell.strip() for cell in row)],
        columns=[name.strip() for name in header],
        dtype=object,
    )
    return lines[lines["伝票日付"].map(lambda cell: as_day(cell) is not None)].reset_index(drop=True)


def _text(cell: str) -> str | None:
    text = cell.strip()
    return None if text.upper() in ("", "NULL", "NAN", "N/A") else text


def as_day(cell: str | None) -> date | None:
    """The day that a cell names."""
    found = re.match(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", unicodedata.normalize("NFKC", cell or ""))
    return date(*map(int, found.groups())) if found else None


def as_number(cell: str | None) -> Decimal | None:
    """The number that a cell holds."""
    return None if cell is None else Decimal(unicodedata.normalize("NFKC", cell).replace(",", ""))


def as_counted(lines: pd.DataFrame, source: str, slip_header: str) -> pd.DataFrame:
    """Lines of a CSV file as rows to count: source, ddate, slip, kg, yen."""
    return pd.DataFrame(
        {
            "source": source,
            "ddate": pd.to_datetime(lines["伝票日付"].map(as_day)),
            "slip": lines[slip_header].map(as_number),
            "kg": lines["正味重量"].map(as_number),
            "yen": lines["金額"].map(as_number),
        },
        dtype=object,
    )


# Counting


def round_to(value: Decimal, places: int) -> Decimal:
    """Round as a numeric column does: halves away from zero."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def calendar(
    holidays: Iterable[date],
    closures: Iterable[tuple[date, date]] = (),
    exceptions: Mapping[date, str] | None = None,
) -> pd.DataFrame:
    """Every calendar day, classified (spec: Reference tables)."""
    days = pd.DataFrame({"ddate": pd.to_datetime(days_between(FIRST_DAY, LAST_DAY))})
    parts = [day.date().isocalendar() for day in days["ddate"]]
    days["y"], days["m"] = days["ddate"].dt.year, days["ddate"].dt.month
    days["iso_year"] = [part.year for part in parts]
    days["iso_week"] = [part.week for part in parts]
    days["iso_dow"] = [part.weekday for part in parts]

    sundays = days[days["ddate"].dt.day_name() == "Sunday"]
    second_sundays = sundays.groupby(["y", "m"])["ddate"].nth(1)
    closed = {day for start, end in closures for day in days_between(start, end)}
    days["is_holiday"] = days["ddate"].dt.date.isin(set(holidays))
    days["is_second_sunday"] = days["ddate"].isin(second_sundays)
    days["is_company_closed"] = days["ddate"].dt.date.isin(closed)

    days["day_type"] = "NORMAL"
    days.loc[days["ddate"].isin(sundays["ddate"]) | days["is_holiday"], "day_type"] = "RESERVATION"
    days.loc[days["is_company_closed"] | days["is_second_sunday"], "day_type"] = "CLOSED"
    forced = {"FORCE_CLOSED": "CLOSED", "FORCE_OPEN": "NORMAL", "FORCE_RESERVATION": "RESERVATION"}
    for day, override in (exceptions or {}).items():
        days.loc[days["ddate"].dt.date == day, "day_type"] = forced[override]
    days["is_business"] = days["day_type"] != "CLOSED"
    return days


def counted_days(lines: pd.DataFrame, sources: Sequence[str]) -> pd.DataFrame:
    """By day: the first of the sources that has lines then, and what all its lines of that day come to.

    Args:
        lines: source, ddate, slip, kg and yen of the lines that are active.
        sources: the one that counts before all others first.
    """
    lines = lines.dropna(subset=["ddate"])
    rank = lines["source"].map(sources.index).astype(int)
    lines = lines[rank == rank.groupby(lines["ddate"]).transform("min")]
    by_day = lines.groupby("ddate")
    days = pd.DataFrame(
        {
            "source": by_day["source"].first(),
            "line_count": by_day.size(),
            "slip_count": by_day["slip"].nunique(),
            "kg": lines.dropna(subset=["kg"]).groupby("ddate")["kg"].sum(),
            "yen": lines.dropna(subset=["yen"]).groupby("ddate")["yen"].sum(),
        }
    )
    for column in ("kg", "yen"):
        days[column] = [Decimal(0) if pd.isna(value) else Decimal(str(value)) for value in days[column]]
    days.index = pd.to_datetime(days.index)
    return days


def active_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines that stay active of all that were uploaded: for each source and day those of the last upload."""
    last = lines.groupby(["source", "ddate"])["upload"].transform("max")
    return lines[lines["upload"] == last]


def king_lines(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows of the old system that count (spec: stg.v_king_receive_clean), as rows to count."""
    counted = [
        {"source": "king", "ddate": day, "slip": row["invoice_no"], "kg": kg, "yen": row["amount"]}
        for row in rows
        if (day := _king_day(cast(str | None, row["invoice_date"])))
        and row["vehicle_type_code"] == 1
        and (kg := row["net_weight_detail"])
    ]
    lines = pd.DataFrame(counted, columns=["source", "ddate", "slip", "kg", "yen"], dtype=object)
    lines["ddate"] = pd.to_datetime(lines["ddate"])
    return lines


def _king_day(text: str | None) -> date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}", text or ""):
        return None
    try:
        return date.fromisoformat((text or "").replace("/", "-"))
    except ValueError:
        return None


def receive_days(lines: pd.DataFrame, days: pd.DataFrame, today: date = TODAY) -> pd.DataFrame:
    """What mart.mv_receive_daily has to hold, given the lines that are active and the calendar."""
    days = days[days["ddate"].dt.date < today]
    counted = counted_days(lines, RECEIVE_SOURCES)
    table = days[
        ["ddate", "y", "m", "iso_year", "iso_week", "iso_dow", "is_business", "is_holiday", "day_type"]
    ].reset_index(drop=True)
    amounts = [
        _receive_amounts(counted.loc[day]) if day in counted.index else _receive_amounts(None) for day in days["ddate"]
    ]
    return table.join(pd.DataFrame(amounts, dtype=object))


def _receive_amounts(day: "pd.Series[object] | None") -> Row:
    if day is None:
        kg, yen, vehicles, source = Decimal(0), Decimal(0), 0, None
    else:
        kg, yen, vehicles, source = day["kg"], day["yen"], day["slip_count"], day["source"]
    return {
        "receive_net_ton": round_to(kg / 1000, 3),
        "receive_vehicle_count": vehicles,
        "avg_weight_kg_per_vehicle": round_to(kg / vehicles, 3) if vehicles else None,
        "sales_yen": round_to(yen, 0),
        "unit_price_yen_per_kg": round_to(yen / kg, 3) if kg > 0 else None,
        "source_system": source,
    }


# Comparing


def assert_same(
    got: pd.DataFrame, expected: pd.DataFrame, key: Sequence[str], rounded: Mapping[str, int] | None = None
) -> None:
    """Both tables hold the same columns and, by key, the same rows, whatever the order.

    Args:
        rounded: columns that hold the expected value rounded to so many places.
    """
    rounded = rounded or {}
    assert set(got.columns) == set(expected.columns)
    left, right = _by_key(got, key), _by_key(expected, key)
    assert not (too_many := left.keys() - right.keys()), f"rows too many: {sorted(too_many, key=str)[:10]}"
    assert not (missing := right.keys() - left.keys()), f"rows missing: {sorted(missing, key=str)[:10]}"
    differences = [
        f"{row_key} {column}: {left[row_key][column]!r} instead of {value!r}"
        for row_key, row in right.items()
        for column, value in row.items()
        if not _equal(left[row_key][column], value, rounded.get(column))
    ]
    assert not differences, f"{len(differences)} differences: {'; '.join(differences[:10])}"


def _by_key(table: pd.DataFrame, key: Sequence[str]) -> dict[tuple[object, ...], Row]:
    columns = list(table.columns)
    rows = [dict(zip(columns, map(_plain, row), strict=True)) for row in table.itertuples(index=False, name=None)]
    by_key = {tuple(row[column] for column in key): row for row in rows}
    assert len(by_key) == len(rows), f"several rows have the same {', '.join(key)}"
    return by_key


def _plain(value: object) -> object:
    return None if not isinstance(value, dict | list) and pd.isna(value) else value  # type: ignore[call-overload]


def _equal(got: object, expected: object, places: int | None) -> bool:
    if places is None or got is None or expected is None:
        return bool(got == expected)
    exact = float(cast(float, expected))
    return abs(float(cast(float, got)) - exact) <= 0.5 * 10**-places + 1e-9 * max(1, abs(exact))
