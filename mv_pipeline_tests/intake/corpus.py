"""Hostile and broken files: how each is made, and what has to become of it.

The expectations come from the spec's “CSV files as they really come” and “Staging”, not from running the code. Each
file is made for a day, so that all of them can lie in one inbox without replacing each other's lines.
"""

import csv
import gzip
import io
import os
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path

from mv_pipeline_tests.factory import csv_text, line

RECEIVE = "shogun_final_receive"
YARD = "shogun_flash_yard"
SHIPMENT = "shogun_final_shipment"
WIDTH = 37
HUGE_BYTES = 1 << 30

Content = Callable[[str], str | bytes]


@dataclass(frozen=True)
class Case:
    """One thing that somebody drops.

    Args:
        name: of the case, in words.
        make: puts it at a path; its lines, if any, are of the given day (`yyyy/mm/dd`).
        file_name: under which it lies in the inbox; undecodable bytes as `os.fsdecode` gives them.
        kind: its folder.
        lines: how many data lines have to be loaded.
        values: what stg has to hold, by column, one value a line.
        codes: exactly the reasons that the report has to show, if it has to be rejected.
        stays: it isn't taken at all but stays where it is.
        shown_name: its name in the log, in the archive and among the rejected, if that has to be another.
    """

    name: str
    make: Callable[[Path, str], object]
    file_name: str
    kind: str = RECEIVE
    lines: int = 0
    values: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    codes: frozenset[str] = frozenset()
    stays: bool = False
    shown_name: str = ""

    @property
    def outcome(self) -> str:
        """What has to become of it: loaded, rejected, or left alone."""
        return "left alone" if self.stays else "rejected" if self.codes else "loaded"

    @property
    def kg(self) -> Decimal:
        """The weight that its lines add to their day."""
        return Decimal(sum(value or 0 for value in self.values["net_weight"])) if self.lines else Decimal(0)


def corpus() -> list[Case]:
    """All cases, always the same ones in the same order."""
    return [
        *_encodings(),
        *_binaries(),
        *_shapes(),
        *_headers(),
        *_texts(),
        *_numbers(),
        *_integers(),
        *_dates(),
        *_slip_dates(),
        *_times(),
        *_codes(),
        *_sizes(),
        *_names(),
        *_bad_names(),
        *_times_of_change(),
        *_no_files(),
    ]


def _loaded(name: str, content: Content, *, lines: int = 1, kind: str = RECEIVE, **values: object) -> Case:
    """A file whose lines have the given values, each the same one, or those of a tuple."""
    columns = {"net_weight": Decimal(100), **values}
    return Case(
        name,
        _writer(content),
        _file_name(name),
        kind,
        lines=lines,
        values={column: value if isinstance(value, tuple) else (value,) * lines for column, value in columns.items()},
    )


def _rejected(name: str, content: Content, *codes: str, kind: str = RECEIVE) -> Case:
    return Case(name, _writer(content), _file_name(name), kind, codes=frozenset(codes))


def _file_name(name: str) -> str:
    """A harmless file name for a case; the hostile ones are cases of their own."""
    return "".join("_" if character == "/" or not character.isprintable() else character for character in name) + ".csv"


def _writer(content: Content) -> Callable[[Path, str], object]:
    def write(path: Path, day: str) -> None:
        made = content(day)
        path.write_bytes(made if isinstance(made, bytes) else made.encode("cp932"))

    return write


def _file(kind: str = RECEIVE, *, lines: int = 1, newline: str = "\r\n", **cells: object) -> Callable[[str], str]:
    """A file of equal lines that is fine but for the given cells."""
    return lambda day: csv_text([line(kind, **{"slip_date": day, **cells})] * lines, newline)


def _utf8(**cells: object) -> Content:
    return lambda day: _file(**cells)(day).encode()


def _header(kind: str = RECEIVE) -> str:
    return csv_text([line(kind)]).split("\r\n")[0]


def _row(day: str, kind: str = RECEIVE, **cells: object) -> str:
    return csv_text([line(kind, **{"slip_date": day, **cells})]).split("\r\n", 1)[1].removesuffix("\r\n")


def _text(*rows: str) -> str:
    return "\r\n".join((*rows, ""))


def _changed(change: Callable[[str], str | bytes], **cells: object) -> Content:
    """A good file of three lines, changed as a whole."""
    return lambda day: change(_file(lines=3, **cells)(day))


def _encodings() -> Iterator[Case]:
    yield _loaded("cp932", _file(lines=3), lines=3, client_name="架空")
    yield _loaded("utf-8", _changed(str.encode), lines=3, client_name="架空")
    yield _loaded("utf-8 with bom", _changed(lambda text: text.encode("utf-8-sig")), lines=3, client_name="架空")
    yield _loaded(
        "utf-8 with two boms", _changed(lambda text: ("\ufeff" + text).encode("utf-8-sig")), lines=3, client_name="架空"
    )
    yield _rejected(
        "bom in the middle where two files were joined",
        lambda day: (_file()(day) + "\ufeff" + _row(day) + "\r\n").encode("utf-8-sig"),
        "bad_date",
    )
    yield _rejected(
        "utf-8 and cp932 joined", lambda day: _file()(day).encode() + _file()(day).encode("cp932"), "undecodable"
    )
    for name in ("utf-16", "utf-32"):
        yield _rejected(f"{name} with bom", _changed(lambda text, name=name: text.encode(name)), "undecodable")
    yield _rejected(
        "utf-16 with bom of the other end",
        _changed(lambda text: b"\xfe\xff" + text.encode("utf-16-be")),
        "undecodable",
    )
    for name in ("utf-16-le", "utf-16-be"):
        yield _rejected(f"{name} without bom", _changed(lambda text, name=name: text.encode(name)), "not_csv")
    yield _rejected("euc-jp", _changed(lambda text: text.encode("euc-jp")), "undecodable")
    for name in ("iso-2022-jp", "utf-7"):
        yield _rejected(name, _changed(lambda text, name=name: text.encode(name)), "not_csv")
    yield _loaded("cell that looks like utf-7", _file(client_name="+ADw-b+AD4-"), client_name="+ADw-b+AD4-")
    yield _rejected("cp932 cut within a character", lambda day: _file()(day).encode("cp932")[:-3], "undecodable")
    yield _rejected("utf-8 cut within a character", lambda day: _file()(day).encode()[:-3], "undecodable")
    for name, broken in {
        "cesu-8 surrogates": b"\xed\xa0\xbd\xed\xba\x9b",
        "a lone surrogate": b"\xed\xa0\x80",
        "an overlong slash": b"\xc0\xaf",
        "an overlong nul": b"\xc0\x80",
        "a character beyond unicode": b"\xf4\x90\x80\x80",
        "five bytes for a character": b"\xf8\x88\x80\x80\x80",
        "latin-1": b"Caf\xe9",
        "a cut character": b"\xe6\x9e",
    }.items():
        yield _rejected(
            f"utf-8 with {name}",
            lambda day, broken=broken: _file(client_name="@@")(day).encode().replace(b"@@", broken),
            "undecodable",
        )
    for name, broken in {
        **{f"0x{byte:x}": bytes([byte]) for byte in (0x80, 0xA0, 0xFD, 0xFE, 0xFF)},
        "a pair that means nothing": b"\x81\xad",
        "a lone lead byte": b"\x81\x0d",
    }.items():
        yield _rejected(
            f"cp932 with {name}",
            lambda day, broken=broken: _file(client_name="@@")(day).encode("cp932").replace(b"@@", broken),
            "undecodable",
        )
    for name, written, read in (
        ("nec's circled digits", b"\x87\x40", "①"),
        ("ibm's kanji", b"\xfb\xfc", "髙"),
        ("a character of one's own", b"\xf0\x40", "\ue000"),
        ("a backslash as second byte", b"\x95\x5c", "表"),
        ("half-width kana", b"\xb6\xb8\xb3", "ｶｸｳ"),
    ):
        yield _loaded(
            f"cp932 with {name}",
            lambda day, written=written: _file(client_name="@@")(day).encode("cp932").replace(b"@@", written),
            client_name=read,
        )


def _zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("xl/worksheets/sheet1.xml"), text)
    return buffer.getvalue()


def _binaries() -> Iterator[Case]:
    yield _rejected("gzip", _changed(lambda text: gzip.compress(text.encode(), mtime=0)), "not_csv")
    yield _rejected("xlsx", _changed(_zipped), "not_csv")
    yield _rejected("old excel", lambda day: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "not_csv")
    yield _rejected("pdf", lambda day: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "not_csv")
    yield _rejected("png", lambda day: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not_csv")
    yield _rejected("elf", lambda day: b"\x7fELF\2\1\1" + bytes(57), "not_csv")
    yield _rejected("only nul", lambda day: bytes(4096), "not_csv")
    yield _rejected("every byte", lambda day: bytes(range(256)) * 4, "not_csv")
    yield _rejected("nul in the middle", _changed(lambda text: text.replace("架空", "架\0空")), "not_csv")
    yield _rejected("nul at the end", _changed(lambda text: text + "\0"), "not_csv")
    yield _rejected("html", lambda day: "<!doctype html>\n<title>503</title>\n", "not_csv")
    yield _rejected("json", lambda day: '[{"伝票日付": "2025/12/01"}]', "not_csv")
    yield _rejected("rich text", lambda day: r"{\rtf1\ansi 伝票日付}", "not_csv")
    yield _rejected("an error report dropped again", _report_again, "not_csv")


def _report_again(day: str) -> bytes:
    return "\ufeff行 line,見出し header,値 value\r\n2,正味重量,x\r\n".encode()


def _shapes() -> Iterator[Case]:
    yield _rejected("no byte", lambda day: b"", "empty")
    yield _rejected("only a bom", lambda day: b"\xef\xbb\xbf", "empty")
    yield _rejected("only blanks", lambda day: " \r\n　\r\n\t\r\n", "empty")
    yield _rejected("only line ends", lambda day: "\n" * 5000, "empty")
    yield _rejected("only commas", lambda day: ("," * 36 + "\r\n") * 3, "empty")
    yield _rejected("header only", lambda day: _header(), "no_data_lines")
    yield _rejected("header and total only", lambda day: _text(_header(), "合計" + "," * 36), "no_data_lines")
    yield _rejected(
        "header and blank lines only", lambda day: _text(_header(), "", "," * 36, "　" + "," * 36), "no_data_lines"
    )
    yield _rejected(
        "header repeated in the middle",
        lambda day: _text(_header(), _row(day), _header(), _row(day)),
        *("bad_date", "bad_integer", "bad_number", "bad_time"),
    )
    yield _rejected("lines without a header", lambda day: _text(_row(day), _row(day)), "not_csv")
    yield _rejected("a title above the header", lambda day: "受入一覧表\r\n" + _file()(day), "not_csv")
    yield _rejected("excel's sep line above the header", lambda day: "sep=,\r\n" + _file()(day), "not_csv")
    yield _loaded("blank lines above the header", lambda day: "\r\n　\r\n,,,\r\n" + _file()(day))
    yield _loaded(
        "blank lines between", lambda day: _text(_header(), "", _row(day), "," * 36, "　", _row(day), ""), lines=2
    )
    yield _loaded(
        "a total line with another number of cells", lambda day: _file(lines=2)(day) + "合計,200\r\n", lines=2
    )
    for word in ("小計", "合　計", "【合計】", "総　計", "総合計：", "合計（3件）", "業者計"):
        yield _loaded(f"a line {word}", lambda day, word=word: _file()(day) + word + "," * 36 + "\r\n")
    yield _rejected(
        "a firm that is called like a total and no date",
        lambda day: _text(_header(), _row(day), _row("", client_name="合計商店")),
        "missing_date",
    )
    yield _rejected("one column", lambda day: _text("伝票日付", day), "missing_header")
    yield _rejected("one unknown column", lambda day: _text("日付", day), "not_csv")
    yield _loaded(
        "ten thousand columns",
        lambda day: _text(
            ",".join([_header(), *(f"列{number}" for number in range(10_000 - WIDTH))]), _row(day) + "," * 9963
        ),
    )
    yield _rejected("a line of ten thousand cells", lambda day: _file()(day) + "x," * 9_999, "ragged_line")
    yield _loaded(
        "lines that end early, as excel saves them",
        lambda day: _text(_header(), _row(day), *[_row(day, sales_staff_cd="", sales_staff_name="").rstrip(",")] * 2),
        lines=3,
        sales_staff_cd=(1, None, None),
    )
    yield _rejected(
        "a line that ends early at the end of the file",
        lambda day: _text(_header(), _row(day)) + _row(day, sales_staff_cd="", sales_staff_name="").rstrip(","),
        "ragged_line",
    )
    yield _rejected(
        "a line that ends before a cell that it must have",
        lambda day: _text(_header(), ",".join(_row(day).split(",")[:15])),
        "ragged_line",
    )
    yield _rejected("a line with a cell less", _changed(lambda text: text[: text.rindex(",")]), "ragged_line")
    yield _rejected("a line with a cell more", lambda day: _text(_header(), _row(day) + ",", _row(day)), "ragged_line")
    yield _rejected(
        "a stray comma in a number",
        lambda day: _text(_header(), _row(day).replace(",100,", ",1,234,", 1)),
        "ragged_line",
    )
    yield _rejected(
        "cut within a line", lambda day: _file(lines=3)(day)[: len(_file(lines=2)(day)) + 40], "ragged_line"
    )
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        yield _rejected(f"{name} for commas", _changed(lambda text, to=separator: text.replace(",", to)), "not_csv")
    yield _rejected("full-width commas", _changed(lambda text: text.replace(",", "，")), "not_csv")
    yield _rejected("a quote never closed", lambda day: _file()(day) + _row(day).replace("架空", '"架空', 1), "not_csv")
    yield _rejected(
        "a quote closed lines later",
        lambda day: _text(
            _header(), _row(day).replace("架空", '"架空', 1), _row(day), _row(day).replace("架空", '"', 1)
        ),
        "cell_too_large",
    )
    yield _rejected("text behind a closed quote", _changed(lambda text: text.replace("架空", '"架"空')), "not_csv")
    yield _rejected("a quote never closed in the header", lambda day: '"' + _file()(day), "not_csv")
    yield _rejected(
        "a never closed quote before much text",
        lambda day: _text(_header(), *[_row(day)] * 5, '"' + _row(day), *[_row(day)] * 2000),
        "cell_too_large",
    )
    yield _loaded(
        "a quote in mid-cell",
        lambda day: _file(client_name="@@")(day).replace("@@", '架"空"社'),
        client_name='架"空"社',
    )
    yield _loaded(
        "every cell quoted", lambda day: _quoted(_file(lines=2, client_name='a"b')(day)), lines=2, client_name='a"b'
    )
    yield _loaded("line ends of unix", _file(lines=3, newline="\n"), lines=3)
    yield _loaded("line ends of the old mac", _file(lines=3, newline="\r"), lines=3)
    yield _loaded(
        "mixed line ends", lambda day: f"{_header()}\r\n{_row(day)}\n{_row(day)}\r{_row(day)}\n\r{_row(day)}", lines=4
    )
    yield _loaded("no final line end", _changed(lambda text: text.removesuffix("\r\n")), lines=3)
    yield _loaded("blanks behind the last line", lambda day: _file()(day) + " \r\n　")
    yield _rejected("dos end of file", lambda day: _file()(day) + "\x1a", "ragged_line")
    yield _loaded("twice the same line", _file(lines=2), lines=2)
    yield _loaded("many lines", _file(YARD, lines=5000), lines=5000, kind=YARD)
    yield _rejected(
        "one bad cell in many lines",
        lambda day: _text(_header(YARD), *[_row(day, YARD)] * 4999, _row(day, YARD, net_weight="x")),
        "bad_number",
        kind=YARD,
    )
    yield _rejected(
        "everything wrong at once",
        lambda day: _text(
            _header(),
            _row(day, net_weight="x", receive_no="x", sales_date="x", weighing_time_gross="x"),
            _row("", client_name="架空"),
            _row("2019/01/01"),
            "1,2,3",
        ),
        *("bad_number", "bad_integer", "bad_date", "bad_time"),
        *("missing_date", "date_out_of_range", "ragged_line"),
    )


def _quoted(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(csv.reader(io.StringIO(text, newline="")))
    return buffer.getvalue()


def _headers() -> Iterator[Case]:
    yield _loaded("header in another order", lambda day: csv_text([dict(reversed(line(slip_date=day).items()))]))
    yield _loaded(
        "headers full-width and with blanks",
        lambda day: _file()(day).replace("業者CD", "　業者 ＣＤ ", 1),
        vendor_cd=1,
    )
    yield _loaded(
        "a header with a line end",
        lambda day: _file()(day).replace("正味重量", '"正味\r\n重量"', 1),
        client_name="架空",
    )
    yield _loaded(
        "unknown headers",
        lambda day: csv_text([{"'; DROP TABLE x; --": "1", "=1+1": "2", "%s": "3", **line(slip_date=day)}]),
    )
    yield _loaded("unknown headers without a name", lambda day: _text(_header() + ",,,", _row(day) + ",x,y,z"))
    yield _loaded(
        "an unknown header twice", lambda day: _text(_header() + ",備考,備考", _row(day) + ",x,y"), client_name="架空"
    )
    yield _loaded(
        "a header named like our own columns",
        lambda day: csv_text([line(slip_date=day) | {"upload_file_id": "7", "is_deleted": "true", "id": "1"}]),
    )
    yield _rejected(
        "a header twice", lambda day: _text(_header() + ",伝票日付", _row(day) + ",2025/12/02"), "duplicated_header"
    )
    yield _rejected(
        "a header twice in other widths",
        lambda day: _text(_header() + ",業者ＣＤ", _row(day) + ",2"),
        "duplicated_header",
    )
    yield _rejected(
        "a required header is missing", _changed(lambda text: text.replace("正味重量", "重量", 1)), "missing_header"
    )
    yield _rejected("the list of another kind", _file(YARD), "missing_header")
    yield _rejected("the receive list among shipments", _file(), "missing_header", kind=SHIPMENT)
    yield _rejected(
        "headers in english", _changed(lambda text: text.replace(_header(), "slip_date" + ",x" * 36)), "not_csv"
    )
    yield _rejected("a header with a formula", lambda day: "=HYPERLINK(1)" + ",x" * 36, "not_csv")
    yield _rejected("a header of a megabyte", lambda day: "x" * 1_000_000 + "," + _file()(day), "cell_too_large")


def _texts() -> Iterator[Case]:
    for name, cell in {
        "sql": "'; DROP TABLE log.upload_file; --",
        "sql in dollars": "$$); DELETE FROM stg.shogun_final_receive; --",
        "the null of copy": r"\N",
        "the end of copy": r"\.",
        "escapes of copy": r"\t\n\\\x41\101",
        "a backslash at the end": "架空\\",
        "real tabs and line ends": "甲\t乙\r\n丙\n丁\r戊",
        "quotes and commas": '"",""",',
        "a formula": "=1+1",
        "a formula that starts a program": "=cmd|' /C calc'!A0",
        "an at sign": "@SUM(1)",
        "a plus sign": "+81-3-0000-0000",
        "a full-width formula": "＝１＋１",
        "percent signs": "%s %(x)s %% %",
        "braces": "{0} {x} {{ }}",
        "html": "<script>alert(1)</script>",
        "a path": "../../etc/passwd",
        "a shell command": "$(reboot) `reboot` ; reboot",
        "a logger's lookup": "${jndi:ldap://x/a}",
        "control characters": "a\x01\x08\x1b[31mb\x7f",
        "c1 control characters": "a\x85\x9bb",
        "form feeds": "a\x0b\x0c\x1cb",
        "line separators": "a\u2028b\u2029c",
        "bidi marks": "a\u202eb\u2066c\u200f",
        "zero-width characters": "架\u200b\u2060空",
        "a bom": "架\ufeff空",
        "emoji": "🚛👨\u200d👩\u200d👧🇯🇵",
        "decomposed kana": unicodedata.normalize("NFD", "ガラ"),
        "a thousand accents": "a" + "\u0301" * 1000,
        "non-characters": "\uffff\ufffe\U0010ffff",
        "replacement characters": "\ufffd\ufffd",
        "arabic": "عربي",
        "two spellings": "葛\U000e0100葛\U000e0101",
        "json": '{"a": [null]}',
        "a word that only begins with nothing": "NULLS",
        "a hundred thousand characters": "架" * 100_000,
    }.items():
        yield _loaded(f"text with {name}", _utf8(client_name=cell), client_name=cell)
    for name, cell in {
        "null": "NULL",
        "nan": "nan",
        "not available": " n/a　",
        "a full-width blank": "　",
        "a hard blank": "\u00a0",
    }.items():
        yield _loaded(f"text that is nothing, {name}", _utf8(client_name=cell), client_name=None)


def _numbers() -> Iterator[Case]:
    for cell, value in {
        "１，２３４": "1234",
        "１２３．５": "123.5",
        "+5": "5",
        "-5": "-5",
        "−５": "-5",
        "0005": "5",
        "-0": "0",
        ".5": "0.5",
        "5.": "5",
        "1,234,567.25": "1234567.25",
        "999999999999": "999999999999",
        "999,999,999,999.999": "999999999999.999",
        "0.1234567890123456789012345678901": "0.1234567890123456789012345678901",
    }.items():
        yield _loaded(f"number {cell}", _utf8(net_weight=cell), net_weight=Decimal(value))
    yield _loaded(
        "numbers of many digits that have to add up exactly",
        lambda day: csv_text(
            [
                line(slip_date=day, net_weight=cell)
                for cell in ("123456789012.12345678901234567890", "0.00000000000000000001")
            ]
        ),
        lines=2,
        net_weight=(Decimal("123456789012.12345678901234567890"), Decimal("0.00000000000000000001")),
    )
    for cell in ("NaN", "NULL", "N/A", " ", "　"):
        yield _loaded(f"number that is nothing, {cell!r}", _utf8(net_weight=cell), net_weight=None)
    for cell in (
        *("1e999", "1e-999", "1e5", "9e999999999999999999", "sNaN", "Infinity", "-inf", "∞"),
        *("--5", "+-5", "5-", "(5)", "（５）", "△5", "-", ".", "1.2.3", "1.234,5"),
        *("1,23", "1234,567", "1,2,3", ",123", "1'234", "1_000", "1 234", "1\n2"),
        *("0x10", "0b1", "0o7", "¥100", "100円", "100kg", "50%", "#VALUE!", "#####", "TRUE", "'100"),
        *("=1+1", "＝1+1", "@1", "一二三", "١٢٣", "𝟓", "Ⅷ", "²", "½", "①", "\u200b5", "5\ufeff", "; DROP TABLE x"),
    ):
        yield _rejected(f"no number {cell}", _utf8(net_weight=cell), "bad_number")
    yield _rejected("number of 400 digits", _file(net_weight="9" * 400), "bad_number")
    yield _rejected("number of 100000 digits", _file(amount="9" * 100_000), "bad_number")
    # A day's tons have to fit the views' numeric(14,4), or one slip of the finger would stop them all.
    yield _rejected("number of 13 digits", _file(net_weight="1000000000000"), "bad_number")
    yield _rejected("number of 40 digits", _file(amount="9" * 40), "bad_number")
    yield _rejected("number of 13 full-width digits", _file(amount="１，０００，０００，０００，０００"), "bad_number")


def _integers() -> Iterator[Case]:
    for cell, value in {
        "2147483647": 2147483647,
        "-2147483648": -2147483648,
        "000123": 123,
        "１２３": 123,
        "1,234": 1234,
        "+7": 7,
        "NULL": None,
        '="000123"': 123,
        "'000123": 123,
    }.items():
        yield _loaded(f"integer {cell}", _utf8(receive_no=cell), receive_no=value)
    for cell in (
        *("2147483648", "-2147483649", "9999999999999999999", "9" * 400, "1.5", "12.0", "1e3", "A12", "--5", "0x1F"),
        *("1,23", "1 2", "Infinity", "١٢٣", "=1", "1; DROP TABLE x"),
    ):
        yield _rejected(f"no integer {cell[:30]}", _utf8(receive_no=cell), "bad_integer")


def _dates() -> Iterator[Case]:
    for cell, value in {
        "9999/12/31": date(9999, 12, 31),
        "1899/12/31": date(1899, 12, 31),
        "0001/01/01": date(1, 1, 1),
        "2024/02/29": date(2024, 2, 29),
        "2025-1-2": date(2025, 1, 2),
        "２０２５／１２／０１（月）": date(2025, 12, 1),
        "2025/12/01(月曜日)": date(2025, 12, 1),
        '="2025/12/01"': date(2025, 12, 1),
        "NaN": None,
    }.items():
        yield _loaded(f"date {cell}", _utf8(sales_date=cell), sales_date=value)
    for cell in (
        *(
            "0000-00-00",
            "0000/01/01",
            "2025/02/30",
            "2025/02/29",
            "1900/02/29",
            "2025/13/01",
            "2025/00/10",
            "2025/12/32",
        ),
        *("infinity", "-infinity", "today", "now", "tomorrow", "yesterday", "epoch", "allballs"),
        *("45992", "45992.5", "20251201", "251201", "25/12/01", "12/01/2025", "10000/01/01", "99999/01/01"),
        *("R7.12.1", "令和7年12月1日", "2025年12月1日", "2025.12.01", "2025/12", "2025/12/01 08:31"),
        *(
            "2025-12-01T00:00:00Z",
            "2025/12/01(X)",
            "2025/12/01(月",
            "J2460000",
            "2025-335",
            "2025-W49-1",
            "0044-03-15 BC",
        ),
        *("2025/-1/01", "2025//01", "#####", "=TODAY()", "未定", "2025-12-01'; DROP TABLE x; --"),
    ):
        yield _rejected(f"no date {cell}", _utf8(sales_date=cell), "bad_date")
    for cell in ("2026/11/03(月)", "2026-11-03（水）", "２０２６／１１／３（日曜日）", "2025/02/30(日)"):
        yield _rejected(f"date of another weekday {cell}", _utf8(sales_date=cell), "wrong_weekday")


def _slip_dates() -> Iterator[Case]:
    for cell in ("9999/12/31", "1899/12/31", "1900/01/01", "2020/12/31", "2027/01/01"):
        yield _rejected(f"slip date {cell}", _file(slip_date=cell), "date_out_of_range")
    for name, cell in {"an empty one": "", "a blank": "　", "null": "NULL", "n÷a": "n/a"}.items():
        yield _rejected(f"slip date that is nothing, {name}", _file(slip_date=cell), "missing_date")
    for cell in ("2025/02/30", "today", "infinity", "45992", "=1+1"):
        yield _rejected(f"slip date {cell}", _file(slip_date=cell), "bad_date")


def _times() -> Iterator[Case]:
    for cell, value in {
        "8:31": time(8, 31),
        "０８：３１：０５": time(8, 31, 5),
        "0:00": time(0, 0),
        "23:59:59": time(23, 59, 59),
        "N/A": None,
    }.items():
        yield _loaded(f"time {cell}", _utf8(weighing_time_gross=cell), weighing_time_gross=value)
    for cell in (
        *("24:00", "25:61", "8:60", "8:31:60", "8:3", "831", "0.354861", "8:31 PM", "-8:31", "08:31+09", "8:31:00.5"),
        *("now", "allballs", "8時31分", "=NOW()"),
    ):
        yield _rejected(f"no time {cell}", _utf8(weighing_time_gross=cell), "bad_time")


def _codes() -> Iterator[Case]:
    for cell, value in {
        "000123": "123",
        "００１２３": "123",
        "0A-01": "A-01",
        "000000": "0",
        "0'; DROP TABLE x; --": "'; DROP TABLE x; --",
        "0" * 1000 + "7": "7",
        r"0\N": r"\N",
        '="000123"': "123",
        "'000123": "123",
        '=""': None,
    }.items():
        yield _loaded(f"code {cell[:30]}", _utf8(client_cd=cell), client_cd=value)
    for cell in ("123.0", "1.23E+05", "1,234", "1E+05", "１２３．０"):
        yield _rejected(f"no code {cell}", _utf8(client_cd=cell), "bad_code")


def _sizes() -> Iterator[Case]:
    def sparse(path: Path, day: str) -> None:
        _writer(_file())(path, day)
        os.truncate(path, HUGE_BYTES)

    yield Case("a sparse gigabyte", sparse, "a sparse gigabyte.csv", codes=frozenset({"too_large"}))
    yield _rejected("a cell of a megabyte", _file(client_name="x" * 1_000_000), "cell_too_large")
    yield _rejected("a quoted cell of a megabyte", _file(client_name="x,\n" * 350_000), "cell_too_large")
    yield _rejected("a line of a megabyte without a comma", lambda day: "架" * 500_000, "cell_too_large")
    yield _rejected(
        "ten thousand bad cells", _file(YARD, lines=5000, net_weight="x", quantity="=y"), "bad_number", kind=YARD
    )


def _named(name: str, file_name: str | bytes, shown_name: str = "") -> Case:
    """A good file under a name."""
    return Case(
        name,
        _writer(_file()),
        os.fsdecode(file_name),
        lines=1,
        values={"net_weight": (Decimal(100),)},
        shown_name=shown_name,
    )


def _names() -> Iterator[Case]:
    for name, file_name in {
        "composed kana": unicodedata.normalize("NFC", "紙とダンボール.csv"),
        "decomposed kana": unicodedata.normalize("NFD", "ガラス陶磁器.csv"),
        "255 letters": "n" * 251 + ".csv",
        "255 bytes of kanji": "名" * 83 + "12.csv",
        "251 bytes of emoji": "🚛" * 61 + "abc.csv",
        "a dash": "-rf.csv",
        "an option": "--help.csv",
        "only a dash": "-.csv",
        "sql": "'; DROP TABLE log.upload_file; --.csv",
        "quotes": "\"a'b`c´.csv",
        "percent signs": "%s%n%(x)s%%.csv",
        "braces": "{0}{x}.csv",
        "a formula": "=cmd|calc!A0.csv",
        "an at sign": "@a.csv",
        "a windows path": "a\\..\\..\\x.csv",
        "a quoted path": "%2e%2e%2fetc%2fpasswd.csv",
        "a full-width path": "．．／x.csv",
        "a home": "~root.csv",
        "a variable": "$HOME.csv",
        "a shell command": "$(reboot);`reboot`|&.csv",
        "stars": "*?[a-z].csv",
        "html": "<img src=x onerror=alert(1)>.csv",
        "a device of windows": "CON.csv",
        "a stream of windows": "a.csv:x.csv",
        "upper case": "A.CSV",
        "mixed case": "m.CsV",
        "two suffixes": "a.xlsx.csv",
        "the name of a report": "a.csv.errors.csv",
        "blanks": "  a  b .csv",
        "a full-width blank": "受入　一覧.csv",
        "only a full-width blank": "　.csv",
        "emoji": "🚛.csv",
        "kanji outside of the standard": "㈱髙﨑①.csv",
        "a word for nothing": "NULL.csv",
        "a backslash": "a\\.csv",
        "many dots": "a..........csv",
        "a byte order mark's kin": "\ufffd.csv",
    }.items():
        yield _named(f"name with {name}", file_name)
    for name, file_name, shown in (
        ("a line end", b"a\nb.csv", "a�b.csv"),
        ("a tab", b"a\tb.csv", "a�b.csv"),
        ("a carriage return", b"a\rb.csv", "a�b.csv"),
        ("terminal escapes", b"\x1b[2J\x1b]0;x\x07.csv", "�[2J�]0;x�.csv"),
        ("c1 control characters", "a\x85b\x9bc.csv".encode(), "a�b�c.csv"),
        ("a bidi override", "a\u202evsc.x.csv".encode(), "a�vsc.x.csv"),
        ("zero-width characters", "a\u200bb\ufeff.csv".encode(), "a�b�.csv"),
        ("a hard blank", "a\u00a0b.csv".encode(), "a�b.csv"),
        ("cp932", "受入.csv".encode("cp932"), "����.csv"),
        ("bytes that are no text", b"\xff\xfe\x80.csv", "���.csv"),
        ("a surrogate", b"\xed\xa0\x80.csv", "���.csv"),
        ("250 bytes that are no text", b"\xff" * 250 + b".csv", "�" * 83 + ".csv"),
    ):
        yield _named(f"name with {name}", file_name, shown)
    for name, file_name in {
        "nothing but the suffix": ".csv",
        "a dot in front": ".hidden.csv",
        "two dots in front": "..csv",
        "an unfinished copy": "a.csv.part",
        "an unfinished download": "a.csv.crdownload",
        "a backup's suffix": "a.csv.bak",
        "a blank behind the suffix": "a.csv ",
        "a full-width dot": "a．csv",
        "a line end behind the suffix": "a.csv\n",
    }.items():
        yield Case(f"name with {name}", _writer(_file()), file_name, stays=True)


def _bad_names() -> Iterator[Case]:
    """Rejected files whose report needs a name made of theirs."""
    for name, file_name, shown in (
        ("255 letters", "r" * 251 + ".csv", ""),
        ("255 bytes of kanji", "拒" * 83 + "12.csv", ""),
        ("a line end", "x\ny.csv", "x�y.csv"),
        ("bytes that are no text", os.fsdecode(b"\xfd" * 251 + b".csv"), "�" * 83 + ".csv"),
        ("a formula", "=1+1.csv", ""),
        ("upper case", "B.CSV", ""),
    ):
        yield Case(
            f"bad file, name with {name}",
            _writer(_file(net_weight="x")),
            file_name,
            codes=frozenset({"bad_number"}),
            shown_name=shown,
        )


def _times_of_change() -> Iterator[Case]:
    for name, seconds in {"in the year 2100": 4_102_444_800, "in 1970": 0, "before 1970": -86_400}.items():

        def write(path: Path, day: str, seconds: int = seconds) -> None:
            _writer(_file())(path, day)
            os.utime(path, (seconds, seconds))

        yield Case(f"changed {name}", write, f"changed {name}.csv", lines=1, values={"net_weight": (Decimal(100),)})
    yield Case(
        "nobody may write it", _with_mode(0o444), "mode 444.csv", lines=1, values={"net_weight": (Decimal(100),)}
    )
    yield Case("it is a program", _with_mode(0o6755), "mode 6755.csv", lines=1, values={"net_weight": (Decimal(100),)})


def _with_mode(mode: int) -> Callable[[Path, str], object]:
    def write(path: Path, day: str) -> None:
        _writer(_file())(path, day)
        path.chmod(mode)

    return write


def _no_files() -> Iterator[Case]:
    """What is no regular file is never followed and never opened."""

    def link(path: Path, day: str) -> None:
        target = path.parents[2] / f"outside {path.name}"
        _writer(_file())(target, day)
        path.symlink_to(target)

    def folder(path: Path, day: str) -> None:
        path.mkdir()
        _writer(_file())(path / "inside.csv", day)

    def device(path: Path, day: str) -> None:
        # Anybody may make device 0, 0 on Linux, and nobody can open it.
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))

    for name, make in {
        "a link to a good file": link,
        "a link to nothing": lambda path, day: path.symlink_to("nowhere"),
        "a link to itself": lambda path, day: path.symlink_to(path.name),
        "a link to a device": lambda path, day: path.symlink_to("/dev/zero"),
        "a link to a folder": lambda path, day: path.symlink_to(path.parent),
        "a folder": folder,
        "a pipe": lambda path, day: os.mkfifo(path),
        "a socket": lambda path, day: os.mknod(path, stat.S_IFSOCK | 0o600),
        "a device": device,
    }.items():
        yield Case(name, make, f"{name}.csv", stays=True)
