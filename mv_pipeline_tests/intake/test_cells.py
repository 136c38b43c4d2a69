"""How text becomes a value; the forms are those of the spec's “CSV files as they really come”."""

from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import CellType
from mv_pipeline.intake import cells
from mv_pipeline.settings import Settings

Read = Callable[[CellType, str], object]


@pytest.fixture(scope="module")
def read(server: Settings) -> Iterator[Read]:
    """Read one cell as the loader does: trim it, then turn it into a value; a plain cell is read either way alike."""
    cell = sql.Identifier("cell")
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:

        def evaluate(cell_type: CellType, text: str, *, plain: bool) -> object:
            value = cells.value(cell, cell_type, plain=plain)
            trimmed = cells.trimmed(cell, plain=plain)
            query = sql.SQL("SELECT {} FROM (SELECT {} AS cell FROM (SELECT %s::text AS cell) AS raw) AS trimmed")
            return connection.execute(query.format(value, trimmed), [text]).fetchone()[0]

        def read_cell(cell_type: CellType, text: str) -> object:
            read = evaluate(cell_type, text, plain=False)
            if cells.are_plain([text], cell_type):
                assert evaluate(cell_type, text, plain=True) == read
            return read

        yield read_cell


@pytest.mark.parametrize(
    "text",
    [
        "2025/12/01",
        "2025/12/01(月)",
        "2025/12/01(月曜)",
        "2025/12/01(月曜日)",
        "2025/12/01（月）",
        "2025-12-01",
        "2025/12/1",
        "2025-12-1",
        "２０２５／１２／０１",
        "２０２５－１２－０１",
        "２０２５／１２／１（月）",
        "　2025/12/01 ",
    ],
)
def test_a_date_is_read_in_every_form_that_exports_have(read: Read, text: str):
    assert read("date", text) == date(2025, 12, 1)


@pytest.mark.parametrize(
    "form", ["2026/11/03({})", "2026-11-3（{}）", "２０２６／１１／０３({}曜日)", "　2026/11/03({}曜) "]
)
def test_a_date_is_read_with_its_own_weekday_and_no_other(read: Read, form: str):
    """The third of November 2026 is a Tuesday."""
    values = {weekday: read("date", form.format(weekday)) for weekday in "月火水木金土日"}

    assert {weekday for weekday, value in values.items() if value} == {"火"}
    assert values["火"] == date(2026, 11, 3)


def test_every_day_of_years_is_read_with_its_weekday(read: Read):
    for number in range(0, 1500, 29):
        day = date(2023, 12, 28) + timedelta(days=number)
        # An independent one: Zeller's congruence, which counts from Saturday.
        year, month = (day.year - 1, day.month + 12) if day.month < 3 else (day.year, day.month)
        zeller = (day.day + 13 * (month + 1) // 5 + year + year // 4 - year // 100 + year // 400) % 7
        assert read("date", f"{day:%Y/%m/%d}({'土日月火水木金'[zeller]})") == day
        assert read("date", f"{day:%Y/%m/%d}({'土日月火水木金'[zeller - 1]})") is None


def test_a_leap_day_is_a_date(read: Read):
    assert read("date", "2024/02/29") == date(2024, 2, 29)


@pytest.mark.parametrize(
    "text",
    [
        "2025/02/30",
        "2025/02/29",
        "0000-00-00",
        "2025/13/01",
        "2025/12/00",
        "2025/12",
        "25/12/01",
        "12/01/2025",
        "2025/12/01 08:31",
        "2025/12/01(x)",
        "20251201",
        "45992",
        "today",
        "infinity",
        "令和7年12月1日",
        "未定",
    ],
)
def test_what_is_no_real_day_is_not_read_as_a_date(read: Read, text: str):
    assert read("date", text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("1234", "1234"),
        ("1234.50", "1234.50"),
        ("1,234", "1234"),
        ("1,234,567.5", "1234567.5"),
        ("12,345.", "12345"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("-1,234", "-1234"),
        ("+5", "5"),
        ("１２３４", "1234"),
        ("１，２３４．５", "1234.5"),
        ("－１２", "-12"),
        ("−１２", "-12"),
        ("＋３", "3"),
        ("1２3", "123"),
        ("　 1,234　", "1234"),
        ("１２３４５６７８９０１２", "123456789012"),
        ("999999999999.999", "999999999999.999"),
        ("-999,999,999,999", "-999999999999"),
        ("0" * 20 + "1", "1"),
    ],
)
def test_a_number_is_read_with_separators_signs_and_full_width_digits(read: Read, text: str, value: str):
    assert read("numeric", text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3",
        "1,23",
        "1234,567",
        "1,234,56",
        ",123",
        "1e3",
        "1e999",
        "--5",
        "+-5",
        "5-",
        "-",
        ".",
        "1.2.3",
        "1_000",
        "1 234",
        "¥100",
        "100kg",
        "0x1F",
        "Infinity",
        "١٢٣",
        "一二三",
        *("1000000000000", "-1000000000000", "1,000,000,000,000", "１０００００００００００００", "1" * 41),
    ],
)
def test_what_is_no_plain_number_is_not_read_as_one(read: Read, text: str):
    assert read("numeric", text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("000123", 123),
        ("0", 0),
        ("-7", -7),
        ("1,234", 1234),
        ("１２３", 123),
        ("０００１２３", 123),
        ("１，２３４", 1234),
        (" 42　", 42),
        ("2147483647", 2147483647),
        ("-2147483648", -2147483648),
    ],
)
def test_an_integer_drops_leading_zeros(read: Read, text: str, value: int):
    assert read("integer", text) == value


@pytest.mark.parametrize(
    "text", ["2147483648", "-2147483649", "9" * 21, "12.0", "12.5", "1,2,3", "A12", "--5", "1e3", "1 2", "0x1F"]
)
def test_what_is_no_whole_number_in_range_is_not_read_as_an_integer(read: Read, text: str):
    assert read("integer", text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("000123", "123"),
        ("A0012", "A0012"),
        ("00A12", "A12"),
        ("0", "0"),
        ("000000", "0"),
        ("100200", "100200"),
        ("００１２３", "123"),
        (" 000123　", "123"),
        ("12345678901234567890", "12345678901234567890"),
        ("12E3", "12E3"),
        ("1-2", "1-2"),
        *(('="000123"', "123"), (' ="000123"　', "123"), ('="A0012"', "A0012"), ('="　000123 "', "123"), ('="0"', "0")),
        *(("'000123", "123"), ("'0", "0"), ("'００１２３", "123"), ('="\'000123"', "123")),
    ],
)
def test_a_code_drops_leading_zeros_and_keeps_letters(read: Read, text: str, value: str):
    assert read("code", text) == value


@pytest.mark.parametrize(
    "text",
    [
        *(
            "123.0",
            "123.",
            "123.00",
            "１２３．０",
            "000123.0",
            "12.5",
            "1,234",
            "1,234.0",
            "-123.0",
            '="123.0"',
            "'123.0",
        ),
        *("1.23E+05", "1.23E5", "1.23e+05", "1E+05", "12E-3", "１．２３Ｅ＋０５", '="1.23E+05"', "'"),
    ],
)
def test_what_a_spreadsheet_has_made_of_a_code_is_not_read_as_one(read: Read, text: str):
    assert read("code", text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [('="000123"', 123), ("'000123", 123), ("'００１２３", 123), (' ="1,234" ', 1234), ("'999999999", 999999999)],
)
def test_an_integer_is_read_as_spreadsheets_keep_its_zeros(read: Read, text: str, value: int):
    assert read("integer", text) == value


@pytest.mark.parametrize(
    ("cell_type", "text", "value"),
    [
        ("date", '="2025/12/01(月)"', date(2025, 12, 1)),
        ("numeric", '="1,234.5"', Decimal("1234.5")),
        ("time", '="8:31"', time(8, 31)),
        ("text", '="架空"', "架空"),
        ("text", '="00012345678"', "00012345678"),
        ("text", '="架"空"', '="架"空"'),
        ("text", '="a"&"b"', '="a"&"b"'),
        ("text", '架="空"', '架="空"'),
        ("text", '="', '="'),
        ("text", "='a'", "='a'"),
        ("text", "'000123", "'000123"),
    ],
)
def test_a_cell_of_any_type_is_unwrapped(read: Read, cell_type: CellType, text: str, value: object):
    assert read(cell_type, text) == value


@pytest.mark.parametrize("cell_type", ["date", "integer", "numeric", "text", "code", "time"])
@pytest.mark.parametrize("text", ['=""', '="　"', '="NULL"', ' ="n/a" '])
def test_a_wrapped_cell_may_hold_nothing(read: Read, cell_type: CellType, text: str):
    assert read(cell_type, text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8:31", time(8, 31)),
        ("08:31", time(8, 31)),
        ("08:31:00", time(8, 31)),
        ("8:31:05", time(8, 31, 5)),
        ("23:59:59", time(23, 59, 59)),
        ("0:00", time(0, 0)),
        ("８：３１", time(8, 31)),
        ("　08:31 ", time(8, 31)),
    ],
)
def test_a_time_is_read_with_or_without_seconds(read: Read, text: str, value: time):
    assert read("time", text) == value


@pytest.mark.parametrize(
    "text", ["25:00", "24:00", "8:60", "8:31:60", "8", "8:3", "8:31:0", "831", "8時31分", "8:31 PM", "now", "-8:31"]
)
def test_what_is_no_time_of_day_is_not_read_as_a_time(read: Read, text: str):
    assert read("time", text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("架空商事", "架空商事"),
        ("　架空商事 ", "架空商事"),
        ("架空　商事", "架空　商事"),
        ("\u00a0架空\t\r\n", "架空"),
        ("００ａ", "００ａ"),
        ("NULLでない", "NULLでない"),
        ("N/A社", "N/A社"),
        (r"C:\new\x", r"C:\new\x"),
        ("-", "-"),
    ],
)
def test_text_only_loses_the_blanks_around_it(read: Read, text: str, value: str):
    assert read("text", text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "　", " 　\t", "\u00a0"),
        *("NULL", "null", "Null", "NaN", "nan", "NAN", "N/A", "n/a"),
        *(" NULL　", "NULL" + " " * 20, "　　　　　　N/A"),
    ],
)
def test_an_empty_cell_and_the_words_for_nothing_hold_nothing(read: Read, text: str):
    assert read("text", text) is None


@pytest.mark.parametrize("cell_type", ["date", "integer", "numeric", "text", "code", "time"])
@pytest.mark.parametrize("text", ["", "　", "NULL", "n/a", "NaN"])
def test_a_cell_that_holds_nothing_is_null_in_every_type(read: Read, cell_type: CellType, text: str):
    assert read(cell_type, text) is None


@pytest.mark.parametrize(
    ("cell_type", "plain"),
    [
        ("date", "2025/12/01(月)"),
        ("date", "2024-02-29"),
        ("integer", "007"),
        ("numeric", "-1,234.50"),
        ("numeric", "0.5"),
        ("time", "8:05"),
        ("time", "23:59:59"),
        ("text", "架空　商事"),
        ("code", "000A12"),
    ],
)
def test_what_exports_mostly_hold_is_plain(cell_type: CellType, plain: str):
    assert cells.are_plain([plain, ""], cell_type)
    assert not cells.are_plain([plain, " x"], cell_type)
    assert not cells.are_plain([plain, "NULL"], cell_type)
    assert not cells.are_plain([plain, f'="{plain}"'], cell_type)


@pytest.mark.parametrize(
    ("cell_type", "alphabet"),
    [
        ("date", "0123-/(月)"),
        ("integer", "0129-+,_ "),
        ("numeric", "019-+,._e"),
        ("time", "0125: "),
        ("code", "00A1１ NUL.,E+'=\""),
        ("text", ' 　NULl/A架="'),
    ],
)
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_plain_cell_is_a_value_and_read_alike(
    read: Read, cell_type: CellType, alphabet: str, data: st.DataObject
):
    near_plain = st.text(alphabet, min_size=1, max_size=12)
    plain = {
        "date": st.from_regex(r"\A(19|20)[0-9]{2}[-/](0[0-9]|1[0-3])[-/][0-3][0-9](\([月日]\))?\Z"),
        "integer": st.from_regex(r"\A[0-9]{1,10}\Z"),
        "numeric": st.from_regex(r"\A-?[0-9]{1,3}(,[0-9]{3}){0,5}(\.[0-9]{0,4})?\Z"),
        "time": st.from_regex(r"\A[0-2]?[0-9]:[0-6][0-9](:[0-6][0-9])?\Z"),
        "code": st.from_regex(r"\A[0-9A-Z]{1,6}\Z"),
        "text": st.sampled_from(cells.NOTHING)
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    }
    text = data.draw(near_plain | plain[cell_type])

    value = read(cell_type, text)

    assert value is not None or not text or not cells.are_plain([text], cell_type)
