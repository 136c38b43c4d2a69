"""What one file does to raw, stg and log; the rules are those of the spec's “Staging” and “CSV files”."""

import csv
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList, FileKind, find_kind
from mv_pipeline.database.connection import Connection
from mv_pipeline.intake.cells import _IS_PLAIN
from mv_pipeline.intake.load import Upload
from mv_pipeline.operations.uploads import read_uploads
from mv_pipeline.settings import Settings
from mv_pipeline_tests.factory import csv_text, line, read_report, take

RECEIVE = "shogun_final_receive"
YARD = "shogun_final_yard"
SPEC = list(
    csv.DictReader((Path(__file__).parents[1] / "contract" / "csv_columns.csv").read_text("utf-8").splitlines())
)
VALUES = {
    "date": date(2025, 12, 1),
    "integer": 1,
    "numeric": Decimal(100),
    "text": "架空",
    "code": "123",
    "time": time(8, 31),
}
BLANK_RECEIVE_LINE = "," * 36


def select(connection: Connection, table: str, columns: str, where: str = "true") -> list[tuple[object, ...]]:
    query = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY upload_file_id, source_row_no"
    return connection.execute(query).fetchall()


def one(connection: Connection, query: str) -> object:
    return connection.execute(query).fetchone()[0]


def day(number: int) -> str:
    return f"2025/12/{number:02}"


def yard_days(*numbers: int, **cells: object) -> str:
    """A yard file with one line for each of these days of December."""
    return csv_text([line(YARD, slip_date=day(number), **cells) for number in numbers])


def active_days(connection: Connection, kind: str = YARD) -> dict[int, int]:
    """The upload whose rows are active, by day of December."""
    rows = select(connection, f"stg.{kind}", "extract(day FROM slip_date)::int, upload_file_id", "NOT is_deleted")
    assert len(dict(rows)) == len(set(rows)), "two uploads are active on one day"
    return dict(rows)


def changed_days(connection: Connection) -> set[tuple[str, str]]:
    """The days in the change log, which is then empty."""
    return set(connection.execute("DELETE FROM log.change_note RETURNING relation, day::text").fetchall())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_header_of_the_spec_becomes_its_column_with_its_type(
    settings: Settings, connection: Connection, kind: FileKind
):
    spec = [row for row in SPEC if row["csv_type"] == kind.list.csv_type]

    take(connection, settings, [line(kind)], kind.name)

    columns = ", ".join(row["column"] for row in spec)
    (values,) = select(connection, f"stg.{kind.name}", columns)
    assert dict(zip(columns.split(", "), values, strict=True)) == {
        row["column"]: VALUES["code" if row["csv_value_type"] == "code" else row["pg_type"]] for row in spec
    }
    (texts,) = select(connection, f"raw.{kind.name}", columns)
    assert dict(zip(columns.split(", "), texts, strict=True)) == {
        row["column"]: line(kind)[row["header"]] for row in spec
    }


@pytest.mark.parametrize("csv_list", LISTS, ids=lambda csv_list: csv_list.csv_type)
def test_an_optional_header_that_is_missing_gives_null(settings: Settings, connection: Connection, csv_list: CsvList):
    kind = find_kind(f"shogun_flash_{csv_list.csv_type}")
    spec = [row for row in SPEC if row["csv_type"] == csv_list.csv_type]
    required = [row["header"] for row in spec if row["required_header"] == "yes"]

    take(connection, settings, [{header: line(kind)[header] for header in required}], kind.name)

    for schema in ("raw", "stg"):
        (values,) = select(connection, f"{schema}.{kind.name}", ", ".join(row["column"] for row in spec))
        filled = [row["header"] for row, value in zip(spec, values, strict=True) if value is not None]
        assert filled == required


@pytest.mark.parametrize("encoding", ["cp932", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_a_file_means_the_same_in_every_encoding_and_with_every_line_end(
    settings: Settings, connection: Connection, encoding: str, newline: str
):
    cells = {
        "slip_date": "２０２５／１２／０１（月）",
        "client_cd": "０００Ａ12",
        "client_name": '　髙﨑"商事", ① ',
        "net_weight": "１，２３４．５",
        "vendor_cd": " 000123　",
        "weighing_time_gross": "08:31:00",
        "amount": "n/a",
    }

    take(connection, settings, csv_text([line(**cells)], newline), encoding=encoding)

    columns = "slip_date, client_cd, client_name, net_weight, vendor_cd, weighing_time_gross, amount"
    assert select(connection, f"stg.{RECEIVE}", columns) == [
        (date(2025, 12, 1), "Ａ12", '髙﨑"商事", ①', Decimal("1234.5"), 123, time(8, 31), None)
    ]


def test_raw_holds_the_cells_unchanged_with_upload_and_row_number(settings: Settings, connection: Connection):
    first = {
        "slip_date": " 2025/12/01(月)　",
        "net_weight": "　１，２３４ ",
        "vendor_cd": "000123",
        "item_name": "NULL",
        "amount": "",
        "client_name": '甲\r\n「乙」, "丙"',
    }

    upload = take(connection, settings, [line(**first), line(vendor_cd="7")])

    columns = ["slip_date", "net_weight", "vendor_cd", "item_name", "amount", "client_name"]
    assert select(connection, f"raw.{RECEIVE}", f"{', '.join(columns)}, upload_file_id, source_row_no") == [
        (*(first[column] for column in columns), upload.id, 1),
        ("2025/12/01", "100", "7", "架空", "100", "架空", upload.id, 2),
    ]
    assert select(connection, f"stg.{RECEIVE}", "upload_file_id, source_row_no") == [(upload.id, 1), (upload.id, 2)]


@pytest.mark.parametrize(
    "cell", [r"C:\new\table", r"\N", r"\.", "a\tb", r"\t", "\\\\", "甲\n乙", "甲\r乙", "'; DROP TABLE x; --", "%s{0}"]
)
def test_text_keeps_backslashes_tabs_and_line_ends_exactly(settings: Settings, connection: Connection, cell: str):
    take(connection, settings, [line(manifest_no=cell), line(manifest_no="次")])

    for schema in ("raw", "stg"):
        assert select(connection, f"{schema}.{RECEIVE}", "manifest_no") == [(cell,), ("次",)]


def test_columns_in_another_order_with_unknown_ones_between_load_and_the_log_names_them(
    settings: Settings, connection: Connection
):
    cells = {"備考": "x", **dict(reversed(line(client_name="甲", net_weight="5").items())), "連番": "1"}

    upload = take(connection, settings, [cells])

    assert select(connection, f"stg.{RECEIVE}", "client_name, net_weight") == [("甲", 5)]
    assert one(connection, f"SELECT metadata->'unknown_headers' FROM log.upload_file WHERE id = {upload.id}") == [
        "備考",
        "連番",
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_log_says_what_was_loaded(settings: Settings, connection: Connection, kind: FileKind):
    lines = [
        line(kind, slip_date="2025/12/03", net_weight="1,000", amount="500"),
        line(kind, slip_date="2025/12/01", net_weight="0.5", amount="-200"),
    ]
    separators = "," * (len(kind.columns) - 1)
    content = (csv_text(lines) + f"\r\n{separators}\r\n　{separators}\r\n合計{separators}\r\n").encode("cp932")

    upload = take(connection, settings, content, kind.name, "受入.csv")

    assert upload == Upload(
        upload.id,
        "受入.csv",
        "loaded",
        rows=2,
        days={date(2025, 12, 1): 1, date(2025, 12, 3): 1},
        counts={"blank_lines": 3, "total_lines": 1, "short_lines": 0},
    )
    _, version, csv_type = kind.name.split("_")
    columns = (
        "id, file_name, file_hash, file_type, csv_type, file_size_bytes, row_count, uploaded_by, processing_status, "
        "error_message, is_deleted, deleted_at"
    )
    assert connection.execute(f"SELECT {columns} FROM log.upload_file").fetchall() == [
        (
            upload.id,
            "受入.csv",
            hashlib.sha256(content).hexdigest(),
            version.upper(),
            csv_type,
            len(content),
            2,
            "tester",
            "success",
            *(None, False, None),
        )
    ]
    assert 0 < one(connection, "SELECT (metadata->>'seconds')::float FROM log.upload_file") < 60
    assert one(connection, "SELECT metadata - 'seconds' FROM log.upload_file") == {
        "lines": 6,
        "blank_lines": 3,
        "total_lines": 1,
        "short_lines": 0,
        "net_weight_kg": "1000.5",
        "amount_yen": "300",
        "first_day": "2025-12-01",
        "last_day": "2025-12-03",
        "encoding": "cp932",
        "unknown_headers": [],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_log_names_the_encoding(settings: Settings, connection: Connection, encoding: str):
    take(connection, settings, [line()], encoding=encoding)

    assert one(connection, "SELECT metadata->>'encoding' FROM log.upload_file") == "utf-8-sig"


def test_the_sums_in_the_log_are_those_of_stg(settings: Settings, connection: Connection):
    cells = ["1,234.5", "１００", "−７", "－３", "+2", "", "NaN", '="5"', " 3　"]

    take(connection, settings, [line(net_weight=cell, amount=cell) for cell in cells], encoding="utf-8")

    query = "SELECT (metadata->>'net_weight_kg')::numeric, (metadata->>'amount_yen')::numeric FROM log.upload_file"
    assert connection.execute(query).fetchone() == (Decimal("1334.5"), Decimal("1334.5"))
    assert one(connection, f"SELECT sum(net_weight) FROM stg.{RECEIVE}") == Decimal("1334.5")


def test_blank_and_total_lines_are_in_neither_raw_nor_stg(settings: Settings, connection: Connection):
    left_out = ["", BLANK_RECEIVE_LINE, "　" + BLANK_RECEIVE_LINE, "合計" + BLANK_RECEIVE_LINE, ",,,,合計" + "," * 32]

    upload = take(connection, settings, csv_text([line()]) + "\r\n".join(left_out))

    assert (upload.rows, upload.counts) == (1, {"blank_lines": 3, "total_lines": 2, "short_lines": 0})
    for schema in ("raw", "stg"):
        assert one(connection, f"SELECT count(*) FROM {schema}.{RECEIVE}") == 1


def test_every_bad_cell_and_line_is_reported_in_the_order_of_lines(settings: Settings, connection: Connection):
    good = csv_text([line()]).splitlines()[1]
    bad = [
        line(net_weight="1,2,3", client_name="甲\r\n乙", weighing_time_gross="25:00"),
        line(slip_date="2025/02/30", vendor_cd="A1"),
        line(slip_date=""),
        line(slip_date="null", sales_date="0000-00-00"),
        line(slip_date="2027/01/01", amount="--5"),
    ]
    first, second, third, fourth, fifth = (csv_text([cells]).split("\r\n", 1)[1].removesuffix("\r\n") for cells in bad)
    text = csv_text([line()]).splitlines()[0]
    for cells in ("", good, first, "1,2", BLANK_RECEIVE_LINE, second, third, good, fourth, fifth):
        text += "\r\n" + cells

    take(connection, settings, text)

    report = read_report(settings.rejected_dir / RECEIVE / "a.csv.errors.csv")
    assert [(int(row[0]), *row[1:4]) for row in report] == [
        (4, "正味重量", "1,2,3", "bad_number"),
        (4, "計量時間（総重量）", "25:00", "bad_time"),
        (6, "", "2 ≠ 37", "ragged_line"),
        (8, "伝票日付", "2025/02/30", "bad_date"),
        (8, "業者CD", "A1", "bad_integer"),
        (9, "伝票日付", "", "missing_date"),
        (11, "伝票日付", "null", "missing_date"),
        (11, "売上日付", "0000-00-00", "bad_date"),
        (12, "伝票日付", "2027/01/01", "date_out_of_range"),
        (12, "金額", "'--5", "bad_number"),
    ]
    assert one(connection, "SELECT metadata - 'report' FROM log.upload_file") == {
        "problems": 10,
        "codes": {
            "bad_number": 2,
            "bad_time": 1,
            "ragged_line": 1,
            "bad_date": 2,
            "bad_integer": 1,
            "missing_date": 2,
            "date_out_of_range": 1,
        },
    }


def test_a_cell_that_holds_something_is_a_value_or_a_problem_and_never_null(settings: Settings, connection: Connection):
    cells = [
        *("2025/12/01", "2025-12-1(月)", "２０２５／１２／１", "2025/02/30", "0000-00-00", "8:31", "８：３１", "25:00"),
        *("1", "000123", "１２３", "1,234", "1,2,3", "1.5", "-1", "--5", "1e999", "2147483648", "A1", "甲", "-", "?"),
        *("", " ", "　", "NULL", "nan", " N/A　", "NULL" + " " * 20, "'", "0", "00", "\\N", "\ufeff", "\u200b"),
    ]
    columns = find_kind(RECEIVE).columns
    lines = [line(**{column.name: cell}) for column in columns[1:] for cell in cells]
    odd_headers = [column.header for column in columns[1:] for _ in cells]

    def holds(cell: str) -> bool:
        return cell.strip(" 　").upper() not in ("", "NULL", "NAN", "N/A")

    assert take(connection, settings, lines, encoding="utf-8").status == "rejected"
    report = read_report(settings.rejected_dir / RECEIVE / "a.csv.errors.csv")
    bad = {int(row[0]) - 2: row[1] for row in report}
    assert len(bad) == len(report)
    assert all(odd_headers[number] == header and holds(lines[number][header]) for number, header in bad.items())

    kept = [cells for number, cells in enumerate(lines) if number not in bad]
    assert take(connection, settings, kept, encoding="utf-8").rows == len(kept)
    rows = select(connection, f"stg.{RECEIVE}", ", ".join(column.name for column in columns))
    for text, values in zip(kept, rows, strict=True):
        assert [value is not None for value in values] == [holds(text[column.header]) for column in columns]


def test_a_cell_that_is_wrongly_taken_for_plain_becomes_no_null_either(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    """What Python takes for plain and PostgreSQL can't read is found all the same, in a column of either sort."""
    monkeypatch.setitem(_IS_PLAIN, "numeric", lambda cell: cell != " 1")

    upload = take(connection, settings, [line(RECEIVE, net_weight="x"), line(RECEIVE, net_weight=" 1")])
    assert (upload.status, upload.message.endswith("[bad_number]")) == ("rejected", True)

    with pytest.raises(psycopg.DataError, match="invalid input syntax for type numeric"):
        take(connection, settings, [line(RECEIVE, net_weight="x"), line(RECEIVE, net_weight="1")])


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("sales_date", "2026/11/03(月)", "wrong_weekday"),
        ("slip_date", "2025/12/01(火)", "wrong_weekday"),
        ("slip_date", "２０２５／１２／０１（日曜日）", "wrong_weekday"),
        ("slip_date", "2025/02/30(月)", "wrong_weekday"),
        ("slip_date", "2025/02/30", "bad_date"),
        ("sales_date", "2025/12/01(X)", "bad_date"),
        ("client_cd", "123.0", "bad_code"),
        ("client_cd", "1.23E+05", "bad_code"),
        ("vendor_cd", "123.0", "bad_integer"),
        ("vendor_cd", "1.23E+05", "bad_integer"),
    ],
)
def test_a_contradiction_and_what_a_spreadsheet_has_changed_are_rejected_with_their_reason(
    settings: Settings, connection: Connection, column: str, cell: str, code: str
):
    assert take(connection, settings, [line(), line(**{column: cell})], encoding="utf-8").status == "rejected"

    ((row, _, value, found, *_),) = read_report(settings.rejected_dir / RECEIVE / "a.csv.errors.csv")
    assert (row, value, found) == ("3", cell, code)


def test_a_customer_is_one_however_a_spreadsheet_has_kept_the_zeros(settings: Settings, connection: Connection):
    cells = ("000123", '="000123"', "'000123", "123", "０００１２３", ' ="123" ')

    take(connection, settings, [line(client_cd=cell, vendor_cd=cell) for cell in cells], encoding="utf-8")

    assert set(select(connection, f"stg.{RECEIVE}", "client_cd, vendor_cd")) == {("123", 123)}
    assert [cell for (cell,) in select(connection, f"raw.{RECEIVE}", "client_cd")] == list(cells)


def test_lines_that_end_early_are_loaded_and_counted(settings: Settings, connection: Connection):
    """As Excel saves a sheet: below the sixteenth line nothing is written behind the last cell that holds anything."""
    last = ("manifest_type_cd", "manifest_type_name", "manifest_no", "sales_staff_cd", "sales_staff_name")
    whole = csv_text([line(**dict.fromkeys(last, ""), receive_no=number) for number in range(1, 41)]).splitlines()
    text = "\r\n".join([*whole[:17], *(cells.rstrip(",") for cells in whole[17:]), ""])

    upload = take(connection, settings, text)

    assert (upload.status, upload.rows, upload.counts["short_lines"]) == ("loaded", 40, 24)
    assert select(connection, f"stg.{RECEIVE}", f"receive_no, {', '.join(last)}") == [
        (number, *[None] * 5) for number in range(1, 41)
    ]
    assert one(connection, "SELECT metadata->'short_lines' FROM log.upload_file") == 24
    (shown,) = read_uploads(connection, 1)
    assert shown.reason == "24 lines end early, and were read as if their last cells were empty"


def test_a_slip_date_after_the_business_date_is_loaded(settings: Settings, connection: Connection):
    assert take(connection, settings, [line(slip_date="2026/01/05(月)")]).status == "loaded"


@pytest.mark.parametrize(("slip_date", "status"), [
    ("2020/12/31", "rejected"),
    ("2021/01/01", "loaded"),
    ("2026/12/31", "loaded"),
    ("2027/01/01", "rejected"),
])  # fmt: skip
def test_a_slip_date_has_to_lie_in_the_calendar(
    settings: Settings, connection: Connection, slip_date: str, status: str
):
    assert take(connection, settings, [line(slip_date=slip_date)]).status == status


def test_other_dates_may_lie_outside_of_the_calendar(settings: Settings, connection: Connection):
    take(connection, settings, [line(sales_date="1999/12/31", payment_date="2030/01/01")])

    assert select(connection, f"stg.{RECEIVE}", "sales_date, payment_date") == [(date(1999, 12, 31), date(2030, 1, 1))]


def test_a_later_upload_replaces_exactly_its_days(settings: Settings, connection: Connection):
    first = take(connection, settings, yard_days(1, 1, 2), YARD)
    second = take(connection, settings, yard_days(2, 3), YARD)

    assert active_days(connection) == {1: first.id, 2: second.id, 3: second.id}
    rows = select(connection, f"stg.{YARD}", "upload_file_id, is_deleted, deleted_at IS NOT NULL, deleted_by")
    assert rows == [
        (first.id, False, False, None),
        (first.id, False, False, None),
        (first.id, True, True, f"upload_file {second.id}"),
        (second.id, False, False, None),
        (second.id, False, False, None),
    ]


def test_nothing_is_removed_from_raw_or_from_the_log(settings: Settings, connection: Connection):
    for amount in range(3):
        take(connection, settings, yard_days(1, 2, amount=amount), YARD)

    assert one(connection, f"SELECT count(*) FROM raw.{YARD}") == 6
    assert one(connection, f"SELECT count(*) FROM stg.{YARD}") == 6
    assert one(connection, "SELECT count(*) FROM log.upload_file WHERE NOT is_deleted") == 3


def test_a_kind_replaces_no_other_kind(settings: Settings, connection: Connection):
    uploads = {kind.name: take(connection, settings, [line(kind)], kind.name) for kind in KINDS}

    for name, upload in uploads.items():
        assert active_days(connection, name) == {1: upload.id}


@pytest.mark.parametrize("seed", range(3))
def test_per_day_only_the_last_upload_is_active(settings: Settings, connection: Connection, seed: int):
    rng = random.Random(seed)
    last: dict[int, int] = {}
    count = 0

    for number in range(8):
        days = rng.sample(range(1, 10), rng.randint(1, 5))
        upload = take(connection, settings, yard_days(*days, *days[:2], amount=number), YARD)
        last |= dict.fromkeys(days, upload.id)
        count += upload.rows

    assert active_days(connection) == last
    assert one(connection, f"SELECT count(*) FROM stg.{YARD}") == count


def test_a_row_deleted_by_hand_keeps_its_mark(settings: Settings, connection: Connection):
    take(connection, settings, yard_days(1), YARD)
    connection.execute(f"UPDATE stg.{YARD} SET is_deleted = true, deleted_at = '2025-12-02', deleted_by = 'hand'")

    take(connection, settings, yard_days(1, amount=5), YARD)

    assert [row[0] for row in select(connection, f"stg.{YARD}", "deleted_by")] == ["hand", None]


def test_rows_of_no_upload_are_replaced_as_well(settings: Settings, connection: Connection):
    connection.execute(f"INSERT INTO stg.{YARD} (slip_date) VALUES ('2025-12-01'), ('2025-12-02')")

    take(connection, settings, yard_days(1), YARD)

    query = f"SELECT slip_date FROM stg.{YARD} WHERE upload_file_id IS NULL AND NOT is_deleted"
    assert connection.execute(query).fetchall() == [(date(2025, 12, 2),)]


def test_the_same_content_again_is_logged_and_not_loaded(settings: Settings, connection: Connection):
    first = take(connection, settings, yard_days(1, 2), YARD)

    second = take(connection, settings, yard_days(1, 2), YARD, "b.csv")

    assert second == Upload(second.id, "b.csv", "duplicate")
    query = "SELECT processing_status, row_count, metadata FROM log.upload_file WHERE id = %s"
    assert connection.execute(query, [second.id]).fetchone() == ("success", 0, {"duplicate_of": first.id})
    assert active_days(connection) == {1: first.id, 2: first.id}
    assert one(connection, f"SELECT count(*) FROM raw.{YARD}") == 2


def test_a_third_copy_names_the_upload_that_was_loaded(settings: Settings, connection: Connection):
    first, _, third = (take(connection, settings, yard_days(1), YARD) for _ in range(3))

    query = f"SELECT (metadata->>'duplicate_of')::int FROM log.upload_file WHERE id = {third.id}"
    assert one(connection, query) == first.id


def test_the_same_content_is_loaded_anew_after_another_upload_replaced_a_day_of_it(
    settings: Settings, connection: Connection
):
    take(connection, settings, yard_days(1, 2), YARD)
    take(connection, settings, yard_days(2, amount=5), YARD)

    again = take(connection, settings, yard_days(1, 2), YARD)

    assert again.status == "loaded"
    assert active_days(connection) == {1: again.id, 2: again.id}


def test_the_same_content_is_loaded_anew_after_a_row_was_deleted_by_hand(settings: Settings, connection: Connection):
    take(connection, settings, yard_days(1, 2), YARD)
    connection.execute(f"UPDATE stg.{YARD} SET is_deleted = true WHERE source_row_no = 2")

    again = take(connection, settings, yard_days(1, 2), YARD)

    assert again.status == "loaded"
    assert active_days(connection) == {1: again.id, 2: again.id}


def test_the_same_content_is_loaded_anew_after_its_upload_was_marked_deleted(
    settings: Settings, connection: Connection
):
    take(connection, settings, yard_days(1), YARD)
    connection.execute("UPDATE log.upload_file SET is_deleted = true")

    assert take(connection, settings, yard_days(1), YARD).status == "loaded"


@pytest.mark.parametrize("change", ["net_weight = 7", "amount = NULL", "slip_date = '2025-12-09'"])
def test_the_same_content_is_loaded_anew_after_its_rows_were_changed_by_hand(settings, connection, change):
    content = csv_text([line(net_weight=100, amount=50)])
    take(connection, settings, content)
    connection.execute(f"UPDATE stg.{RECEIVE} SET {change}")

    assert take(connection, settings, content).status == "loaded"

    query = "SELECT slip_date::text, net_weight, amount FROM stg.v_active_shogun_final_receive WHERE slip_date = %s"
    assert connection.execute(query, ["2025-12-01"]).fetchall() == [("2025-12-01", 100, 50)]


def test_the_same_content_for_another_kind_is_no_duplicate(settings: Settings, connection: Connection):
    take(connection, settings, yard_days(1), YARD)

    assert take(connection, settings, yard_days(1), "shogun_flash_yard").status == "loaded"


def test_rejected_content_is_rejected_again(settings: Settings, connection: Connection):
    statuses = [take(connection, settings, yard_days(1, amount="x"), YARD).status for _ in range(2)]

    assert statuses == ["rejected", "rejected"]


def test_the_change_log_names_exactly_the_days_of_a_file(settings: Settings, connection: Connection):
    changed_days(connection)

    take(connection, settings, yard_days(1, 3, 3), YARD)

    assert changed_days(connection) == {(f"stg.{YARD}", "2025-12-01"), (f"stg.{YARD}", "2025-12-03")}


def test_the_change_log_of_a_replacement_leaves_out_the_days_that_stay(settings: Settings, connection: Connection):
    take(connection, settings, yard_days(1, 2), YARD)
    changed_days(connection)

    take(connection, settings, yard_days(2, 3), YARD)

    assert changed_days(connection) == {(f"stg.{YARD}", "2025-12-02"), (f"stg.{YARD}", "2025-12-03")}


def test_the_change_log_after_both_names_the_days_of_both(settings: Settings, connection: Connection):
    changed_days(connection)

    take(connection, settings, yard_days(1, 2), YARD)
    take(connection, settings, yard_days(2, 3), YARD)

    assert changed_days(connection) == {(f"stg.{YARD}", f"2025-12-{number:02}") for number in (1, 2, 3)}


def test_a_duplicate_and_a_rejected_file_leave_the_change_log_empty(settings: Settings, connection: Connection):
    take(connection, settings, yard_days(1), YARD)
    changed_days(connection)

    take(connection, settings, yard_days(1), YARD)
    take(connection, settings, yard_days(1, amount="x"), YARD)

    assert changed_days(connection) == set()


def test_the_statements_survive_any_header(settings: Settings, connection: Connection):
    header = '"; DROP TABLE log.upload_file; -- %s {0} \\'

    take(connection, settings, [line() | {header: "x"}])

    assert json.loads(str(one(connection, "SELECT metadata->>'unknown_headers' FROM log.upload_file"))) == [header]


def test_more_lines_than_a_block_are_loaded_in_order(settings: Settings, connection: Connection):
    take(connection, settings, [line(YARD, slip_no=number) for number in range(1, 4502)], YARD)

    query = f"SELECT slip_no, source_row_no FROM stg.{YARD} ORDER BY id"
    assert connection.execute(query).fetchall() == [(number, number) for number in range(1, 4502)]


@pytest.fixture(params=["our indexes", "an index of others"])
def index_of_others(request: pytest.FixtureRequest, connection: Connection) -> Iterator[str]:
    """One that only finds all lines of an upload is smaller: for rows unknown to it the planner may prefer that."""
    if request.param == "an index of others":
        connection.execute(f"CREATE INDEX of_others ON raw.{YARD} (upload_file_id)")
    yield request.param
    connection.execute("DROP INDEX IF EXISTS raw.of_others")


def rows_read(connection: Connection) -> int:
    """How many rows of raw and stg have been read so far, also in transactions that were rolled back."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    query = (
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables "
        f"WHERE relname = '{YARD}'"
    )
    return int(str(one(connection, query)))


def test_no_block_of_a_file_costs_more_the_later_it_comes(
    settings: Settings, connection: Connection, index_of_others: str, monkeypatch: pytest.MonkeyPatch
):
    """Of short blocks there are as many in a small file as there are of real ones in one of a million lines."""
    monkeypatch.setattr("mv_pipeline.intake.reader._PIECE_LINES", 10)
    monkeypatch.setattr("mv_pipeline.intake.reader._BLOCK_PIECES", 1)
    before = rows_read(connection)

    take(connection, settings, [line(YARD, slip_no=number) for number in range(4000)], YARD)

    # All of them in one statement for each ten lines would be 800,000.
    assert rows_read(connection) - before < 40 * 4000


@pytest.mark.parametrize("every", [10_000, 10], ids=["one bad line", "a thousand bad lines"])
@pytest.mark.parametrize("analyzed", [True, False])
def test_no_line_of_a_rejected_file_is_compared_with_all_the_others(
    settings: Settings, connection: Connection, index_of_others: str, analyzed: bool, every: int
):
    """Nothing is known of rows that a transaction has just inserted; what earlier uploads say of them misleads."""
    for upload in range(3):
        take(connection, settings, yard_days(*[1] * 1000, amount=upload), YARD)
    if analyzed:
        connection.execute(f"ANALYZE raw.{YARD}, stg.{YARD}")
    dirty = {"net_weight": " 1", "quantity": "", "amount": "１", "vendor_cd": "N/A"}
    lines = [line(YARD, slip_no=number, **dirty) for number in range(10_000)]
    for cells in lines[every // 2 :: every]:
        cells["伝票日付"] = "2025/02/30"
    before = rows_read(connection)

    upload = take(connection, settings, csv_text(lines), YARD, encoding="utf-8")

    assert (upload.status, upload.message[-10:]) == ("rejected", "[bad_date]")
    report = read_report(settings.rejected_dir / YARD / "a.csv.errors.csv")
    assert [int(row[0]) for row in report] == [number + 2 for number in range(every // 2, 10_000, every)]
    # Raw once to be typed and once to be judged, stg once; and a few times what was there already.
    assert rows_read(connection) - before < 6 * (10_000 + 3_000)
