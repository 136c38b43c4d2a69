"""From bytes to lines of text: encodings, headers, line shapes, line numbers. No database is needed here."""

import csv
import gc
import os
import stat
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind, find_kind
from mv_pipeline.intake.reader import CsvReader, FileUnavailableError, find_encoding, open_file
from mv_pipeline.intake.rejection import RejectedFileError
from mv_pipeline_tests.factory import csv_text, line

YARD = find_kind("shogun_final_yard")
SPEC = list(
    csv.DictReader((Path(__file__).parents[1] / "contract" / "csv_columns.csv").read_text("utf-8").splitlines())
)
BLANK_YARD_LINE = "," * 14


def encoding_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with open_file(path) as file:
        return find_encoding(file)


@contextmanager
def reading(path: Path, content: str | bytes, kind: FileKind = YARD) -> Iterator[CsvReader]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("cp932"))
    with open_file(path) as file:
        yield CsvReader(file, kind)


def copied(reader: CsvReader) -> list[list[str]]:
    """The cells of every line given to COPY."""
    return [text.split("\t") for text in "".join(block.text for block in reader.blocks(7)).splitlines()]


def problems(reader: CsvReader) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in reader.problems]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def yard_text(*lines: dict[str, str] | str, newline: str = "\r\n") -> str:
    """A yard file of lines made by `line` and of literal ones."""
    rows = [csv_text([cells], newline).split(newline, 1) if isinstance(cells, dict) else cells for cells in lines]
    header = csv_text([line(YARD)], newline).split(newline)[0]
    return newline.join([header, *(row if isinstance(row, str) else row[1].removesuffix(newline) for row in rows), ""])


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("伝票日付".encode("cp932"), "cp932"),
        ("①髙﨑㈱".encode("cp932"), "cp932"),
        ("伝票日付".encode(), "utf-8-sig"),
        ("伝票日付".encode("utf-8-sig"), "utf-8-sig"),
        (b"ASCII", "utf-8-sig"),
    ],
)
def test_the_encoding_is_found(path: Path, content: bytes, encoding: str):
    assert encoding_of(path, content) == encoding


@pytest.mark.parametrize("after", [b"", b"A", b"\r\n", "名".encode("cp932")])
def test_exactly_the_bytes_that_mean_nothing_in_cp932_are_undecodable(path: Path, after: bytes):
    """0x80, 0xA0 and 0xFD to 0xFF: in Microsoft's table neither characters nor the first half of one."""
    bad = {}
    for byte in [*range(0x7F, 0x81), *range(0xA0, 0xE0), *range(0xFD, 0x100)]:
        try:
            encoding_of(path, "名\r\n".encode("cp932") + bytes([byte]) + after)
        except RejectedFileError as error:
            bad[byte] = [(problem.code, problem.line) for problem in error.problems]

    assert bad == {byte: [("undecodable", 2)] for byte in (0x80, 0xA0, 0xFD, 0xFE, 0xFF)}


def test_a_companys_own_characters_are_text(path: Path):
    """Windows keeps the lead bytes 0xF0 to 0xF9 for them, and shows what the company has drawn."""
    assert encoding_of(path, "名".encode("cp932") + b"\xf0\x40\xf9\xfc") == "cp932"


def test_a_character_on_the_border_of_two_blocks_is_read(path: Path):
    content = b"x" * ((1 << 20) - 1) + "伝".encode("cp932") + b"x" * ((1 << 20) - 2) + "票".encode("cp932")

    assert encoding_of(path, content) == "cp932"


@pytest.mark.parametrize(
    ("content", "code", "line_no"),
    [
        (b"", "empty", 0),
        (b"PK\x03\x04\x14\x00\x06\x00", "not_csv", 0),
        ("伝票日付,x\r\n".encode("utf-16"), "undecodable", 0),
        ("a,b\r\n".encode("utf-16-le"), "not_csv", 0),
        (b"a\r\nb\r\n\x81\x20\r\n", "undecodable", 3),
        ("伝票日付\r\n品名\r\n".encode("euc-jp"), "undecodable", 1),
        (b"a\r\nb\r\n\x81", "undecodable", 3),
        ("名\r\n".encode("cp932") + b"\x80\r\n", "undecodable", 2),
        ("名\r\n".encode("cp932") + b"x\xff\r\n", "undecodable", 2),
        ("伝票日付,\r\n品名,\r\n".encode() + b"\xe6\x9e,\r\n", "undecodable", 3),
    ],
)
def test_what_is_no_text_is_rejected_as_a_whole(path: Path, content: bytes, code: str, line_no: int):
    with pytest.raises(RejectedFileError) as rejection:
        encoding_of(path, content)

    (problem,) = rejection.value.problems
    assert (problem.code, problem.line) == (code, line_no)


@pytest.mark.parametrize("content", [b"a\0b\0", b"PK\x03\x04\0\0", b"\0\0\0\0"])
def test_no_problem_shows_a_nul_that_the_log_could_not_hold(path: Path, content: bytes):
    with pytest.raises(RejectedFileError) as rejection:
        encoding_of(path, content)

    assert "\0" not in str(rejection.value)


def test_links_folders_and_pipes_are_not_opened(tmp_path: Path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for name in ("link", "folder", "pipe"):
        with pytest.raises(FileUnavailableError):
            open_file(tmp_path / name)


@pytest.mark.parametrize("other", ["link", "pipe", "socket"])
def test_what_takes_a_files_place_after_its_status_was_read_is_not_opened_either(
    path: Path, monkeypatch: pytest.MonkeyPatch, other: str
):
    path.touch()
    lstat = Path.lstat

    def stat_and_replace(self: Path) -> os.stat_result:
        status = lstat(self)
        self.unlink()
        make = {"link": lambda: self.symlink_to("/etc/hosts"), "pipe": lambda: os.mkfifo(self)}
        make.get(other, lambda: os.mknod(self, stat.S_IFSOCK | 0o600))()
        return status

    monkeypatch.setattr(Path, "lstat", stat_and_replace)

    with pytest.raises((FileUnavailableError, OSError)):
        open_file(path)


def test_a_file_that_is_gone_is_told_from_one_that_is_no_file(path: Path):
    with pytest.raises(FileNotFoundError):
        open_file(path)


@pytest.mark.parametrize("encoding", ["cp932", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_every_encoding_and_line_end_gives_the_same_cells(path: Path, encoding: str, newline: str):
    text = yard_text(line(YARD, client_name="髙﨑商事", net_weight="１，２３４"), newline=newline)

    with reading(path, text.encode(encoding)) as reader:
        (cells,) = copied(reader)

    assert cells == [
        "2025/12/01",
        "髙﨑商事",
        "架空",
        "１，２３４",
        *("100", "架空", "100", "100", "架空", "1", "架空", "1", "架空", "1", "1"),
        *("7", "1"),
    ]


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_the_last_line_needs_no_line_end(path: Path, newline: str):
    with reading(path, yard_text(line(YARD), line(YARD), newline=newline).removesuffix(newline)) as reader:
        assert len(copied(reader)) == 2


@pytest.mark.parametrize(
    ("cell", "copied_as"),
    [
        ("a,b", "a,b"),
        ('"架空"商事', '"架空"商事'),
        ("1行目\n2行目", r"1行目\n2行目"),
        ("1行目\r\n2行目", r"1行目\r\n2行目"),
        ("a\tb", r"a\tb"),
        (r"C:\new", r"C:\\new"),
        (r"\N", r"\\N"),
        (r"\.", r"\\."),
        (" 　 ", " 　 "),
        ("", ""),
    ],
)
def test_quoted_commas_quotes_and_line_ends_stay_in_their_cell(path: Path, cell: str, copied_as: str):
    with reading(path, yard_text(line(YARD, client_name=cell), line(YARD))) as reader:
        lines = "".join(block.text for block in reader.blocks(7)).split("\n")

    assert [text.split("\t")[1] for text in lines[:-1]] == [copied_as, "架空"]


def test_data_lines_are_numbered_from_one_and_carry_the_upload(path: Path):
    with reading(path, yard_text(line(YARD), BLANK_YARD_LINE, line(YARD))) as reader:
        assert [cells[-2:] for cells in copied(reader)] == [["7", "1"], ["7", "2"]]


def test_columns_may_stand_in_any_order(path: Path):
    cells = line(YARD, client_name="甲", item_name="乙")

    with reading(path, csv_text([dict(reversed(cells.items()))])) as reader:
        (copied_cells,) = copied(reader)

    assert copied_cells[:3] == ["2025/12/01", "甲", "乙"]


def test_unknown_columns_are_left_out_and_named(path: Path):
    cells = {"備考": "x", **line(YARD, client_name="甲"), "その他": "y"}

    with reading(path, csv_text([cells])) as reader:
        (copied_cells,) = copied(reader)

    assert reader.unknown_headers == ["備考", "その他"]
    assert (len(copied_cells), copied_cells[1]) == (17, "甲")


@pytest.mark.parametrize(
    ("header", "variant"),
    [
        ("業者CD", "業者ＣＤ"),
        ("業者CD", "　業者CD "),
        ("業者CD", "業者 CD"),
        ("計量時間（総重量）", "計量時間(総重量)"),
        ("マニ種類CD", "ﾏﾆ種類CD"),
        ("マニフェスト番号", "ﾏﾆﾌｪｽﾄ番号"),
        ("伝票日付", "\ufeff\ufeff伝票日付"),
        ("伝票日付", "\u00a0伝票日付"),
    ],
)
def test_headers_are_known_in_half_and_full_width_and_with_blanks(path: Path, header: str, variant: str):
    text = csv_text([line("shogun_final_receive")]).replace(header, variant, 1)

    with reading(path, text.encode(), find_kind("shogun_final_receive")) as reader:
        assert (len(reader.columns), reader.unknown_headers) == (37, [])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_exactly_the_required_headers_have_to_be_there(path: Path, kind: FileKind):
    spec = [row for row in SPEC if row["csv_type"] == kind.list.csv_type]

    def rejection(without: str) -> list[tuple[str, int, str]]:
        cells = line(kind)
        del cells[without]
        try:
            with reading(path, csv_text([cells]).encode(), kind):
                return []
        except RejectedFileError as error:
            return [(problem.code, problem.line, problem.header) for problem in error.problems]

    for row in spec:
        expected = [("missing_header", 1, row["header"])] if row["required_header"] == "yes" else []
        assert rejection(row["header"]) == expected


def test_every_missing_and_doubled_header_is_named(path: Path):
    text = csv_text([line(YARD)]).replace("正味重量", "業者ＣＤ").replace("数量", "数 量?")

    with pytest.raises(RejectedFileError) as rejection, reading(path, text):
        pass

    assert {(problem.code, problem.line, problem.header) for problem in rejection.value.problems} == {
        ("duplicated_header", 1, "業者CD"),
        ("missing_header", 1, "正味重量"),
        ("missing_header", 1, "数量"),
    }


def test_a_file_without_any_known_header_is_no_csv_of_the_kind(path: Path):
    with pytest.raises(RejectedFileError, match=r"not_csv"), reading(path, "a,b\r\n1,2\r\n"):
        pass


def test_a_header_that_cannot_be_used_leaves_the_file_open_for_its_owner(path: Path):
    path.write_bytes(b"a,b\r\n")

    with open_file(path) as file:
        with pytest.raises(RejectedFileError, match=r"not_csv"):
            CsvReader(file, YARD)
        gc.collect()
        assert not file.closed


@pytest.mark.parametrize("content", ["\r\n", " \r\n　\r\n", ",,\r\n", "\ufeff"])
def test_a_file_of_blanks_is_empty(path: Path, content: str):
    with pytest.raises(RejectedFileError, match=r"\[empty\]"), reading(path, content.encode()):
        pass


@pytest.mark.parametrize("below", [[], [BLANK_YARD_LINE], ["合計" + BLANK_YARD_LINE]])
def test_a_file_with_nothing_below_the_header_has_no_data_lines(path: Path, below: list[str]):
    with reading(path, yard_text(*below)) as reader, pytest.raises(RejectedFileError, match=r"no_data_lines"):
        copied(reader)


@pytest.mark.parametrize(
    "blank",
    ["", "   ", BLANK_YARD_LINE, "　" + ",　" * 14, ",", '""' + BLANK_YARD_LINE, " ,\u3000,\t", ',"\r\n",'],
)
def test_a_line_of_blanks_is_counted_and_left_out(path: Path, blank: str):
    with reading(path, yard_text(line(YARD), blank, line(YARD))) as reader:
        assert len(copied(reader)) == 2

    assert (*reader.counts.values(), len(reader.line_numbers), reader.lines) == (1, 0, 0, 2, 3)
    assert reader.problems == []


TOTALS = (
    *(
        "小計",
        "中計",
        "総計",
        "累計",
        "月計",
        "日計",
        "計",
        "合　計",
        "総　計",
        "総 合 計",
        "小 計",
        "業者計",
        "伝票計",
        "品名 計",
    ),
    *(
        "【合計】",
        "［小計］",
        "(合計)",
        "（総合計）",
        "<合計>",
        "＜合計＞",
        "「計」",
        "〔合計〕",
        "*合計*",
        "― 合計 ―",
        "■合計",
    ),
    *("合計：", "合計:", "合計 12件", "合計（12件）", "合計　5,000kg", "【合　計】"),
)


@pytest.mark.parametrize(
    "total",
    [
        "合計,,,12345" + "," * 11,
        ",合計,,12345" + "," * 11,
        ",,総合計,12345" + "," * 11,
        " 合計　,,,12345" + "," * 11,
        "　,合計,,12345" + "," * 11,
        "合計,12345",
        "," * 14 + "合計,1",
        *(f"{word},,,12345" + "," * 11 for word in TOTALS),
        *(f",{word},,12345" + "," * 11 for word in TOTALS),
    ],
)
def test_a_total_line_is_counted_and_left_out(path: Path, total: str):
    with reading(path, yard_text(line(YARD), total)) as reader:
        assert len(copied(reader)) == 1

    assert (*reader.counts.values(), len(reader.line_numbers), reader.lines) == (0, 1, 0, 1, 2)
    assert (reader.problems, reader.sums["net_weight"]) == ([], Decimal(100))


def test_a_dated_line_that_names_a_total_is_data(path: Path):
    with reading(path, yard_text(line(YARD, client_name="合計"))) as reader:
        assert (len(copied(reader)), reader.counts["total_lines"]) == (1, 0)


def test_a_line_without_a_date_is_no_total_by_a_word_that_only_contains_it(path: Path):
    with reading(path, yard_text(line(YARD, slip_date="", client_name="合計商店"))) as reader:
        copied(reader)

    assert problems(reader) == [(2, "missing_date")]


@pytest.mark.parametrize(
    "name", ["東京時計", "日本精計", "合計商店", "計画課", "会計", "設計", "総計商事", "計量所", "小計器"]
)
def test_no_firm_is_a_total(path: Path, name: str):
    with reading(path, yard_text(line(YARD, slip_date="", client_name=name), line(YARD, slip_date=name))) as reader:
        assert len(copied(reader)) == 1  # whether it is a date is said with all other values

    assert (problems(reader), reader.counts["total_lines"]) == ([(2, "missing_date")], 0)


def test_a_hostile_cell_is_judged_in_linear_time(path: Path):
    with reading(path, yard_text(line(YARD), *[',"' + "( " * 60_000 + 'x"' + "," * 13] * 20)) as reader:
        copied(reader)

    assert problems(reader) == [(number, "missing_date") for number in range(3, 23)]


def cut(**cells: object) -> str:
    """A yard line without the empty cells at its end, as Excel saves it below the first sixteen."""
    return yard_text(line(YARD, **cells)).splitlines()[1].rstrip(",")


# The yard's columns behind the last one that a file must have, quantity.
OPTIONAL = (
    *("unit_name", "unit_price", "amount", "sales_staff_name", "vendor_cd", "vendor_name"),
    *("category_cd", "category_name", "item_cd", "slip_no"),
)


@pytest.mark.parametrize("missing", range(1, len(OPTIONAL) + 1))
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_a_line_may_end_early_where_only_optional_cells_are_missing(path: Path, missing: int, newline: str):
    short = cut(**dict.fromkeys(OPTIONAL[-missing:], ""))
    assert short.count(",") == 14 - missing

    with reading(path, yard_text(line(YARD), short, line(YARD), short, newline=newline)) as reader:
        lines = copied(reader)

    assert [len(cells) for cells in lines] == [17] * 4
    assert lines[1][:15] == lines[0][: 15 - missing] + [""] * missing
    assert list(reader.line_numbers) == [2, 3, 4, 5]
    assert (problems(reader), reader.counts) == ([], {"blank_lines": 0, "total_lines": 0, "short_lines": 2})


def test_a_line_that_lacks_a_cell_that_it_must_have_is_ragged(path: Path):
    short = cut(**dict.fromkeys((*OPTIONAL, "quantity"), ""))

    with reading(path, yard_text(line(YARD), short)) as reader:
        copied(reader)

    assert (problems(reader), reader.counts["short_lines"]) == ([(3, "ragged_line")], 0)


def test_where_a_line_may_end_follows_the_order_of_the_columns(path: Path):
    """With the slip date as the last column no line may end early, and unknown columns may always be missing."""
    for text, expected in (
        (csv_text([dict(reversed(line(YARD).items()))]), "ragged_line"),
        (csv_text([line(YARD) | {"備考": "x"}]), None),
    ):
        header, cells = text.splitlines()
        with reading(path, "\r\n".join([header, cells.rpartition(",")[0], ""])) as reader:
            copied(reader)
        assert [problem.code for problem in reader.problems] == ([expected] if expected else [])


@pytest.mark.parametrize("end", ["", "　", "合計,5", "\r\n"])
def test_a_line_that_the_end_of_the_file_has_cut_is_no_short_one(path: Path, end: str):
    short = cut(slip_no="", item_cd="")
    text = yard_text(line(YARD), short).removesuffix("\r\n")

    with reading(path, text + (f"\r\n{end}" if end.strip("\r\n") else end)) as reader:
        copied(reader)

    assert problems(reader) == ([] if end else [(3, "ragged_line")])


@pytest.mark.parametrize("cells", [",".join("1" * 4), ",".join("1" * 16), "2025/12/01", "2025/12/01,合計"])
def test_a_line_of_another_width_is_ragged(path: Path, cells: str):
    with reading(path, yard_text(line(YARD), cells, line(YARD))) as reader:
        assert len(copied(reader)) == 2

    assert problems(reader) == [(3, "ragged_line")]
    assert reader.problems[0].value == f"{cells.count(',') + 1} ≠ 15"


def test_every_bad_line_is_collected(path: Path):
    undated = line(YARD, slip_date="　")

    with reading(path, yard_text("1,2", line(YARD), undated, "3", "", undated)) as reader:
        copied(reader)

    assert problems(reader) == [(2, "ragged_line"), (4, "missing_date"), (5, "ragged_line"), (7, "missing_date")]


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_line_numbers_count_blank_lines_and_line_ends_within_cells(path: Path, newline: str):
    two_lines = line(YARD, client_name=f"甲{newline}乙")

    with reading(path, yard_text("", two_lines, "", BLANK_YARD_LINE, two_lines, "x", newline=newline)) as reader:
        copied(reader)

    assert list(reader.line_numbers) == [3, 7]
    assert problems(reader) == [(9, "ragged_line")]


def test_blank_lines_may_stand_above_the_header(path: Path):
    with reading(path, "\r\n,,\r\n" + yard_text(line(YARD))) as reader:
        copied(reader)

    assert list(reader.line_numbers) == [4]


@pytest.mark.parametrize("end", ['"never closed', '"a"b,'])
def test_broken_quoting_is_no_csv(path: Path, end: str):
    with reading(path, yard_text(line(YARD), end)) as reader:
        copied(reader)

    assert problems(reader) == [(3, "not_csv")]


def test_lines_between_two_stray_quotes_are_no_cell(path: Path):
    first, second = (csv_text([line(YARD, client_name=name)]).splitlines()[1] for name in ("甲", "乙"))

    with reading(
        path, yard_text(line(YARD), first.replace("甲", '"甲'), second.replace("乙", '"'), line(YARD))
    ) as reader:
        assert len(copied(reader)) == 2

    assert problems(reader) == [(3, "cell_too_large")]


def test_a_quote_that_is_never_closed_ends_in_a_cell_too_large(path: Path):
    with reading(path, yard_text('"' + "x" * 131_073)) as reader:
        copied(reader)

    assert problems(reader) == [(2, "cell_too_large")]


@pytest.mark.parametrize(
    ("cells", "sum_of_both"),
    [
        (["100", "0.25"], "100.25"),
        (["1,234", "１，２３４．５"], "2468.5"),
        (["-5", "－５"], "-10"),
        (["−５", "−1,000"], "-1005"),
        ([" 7　", "＋３"], "10"),
        (["", "NULL"], "0"),
        (["NaN", "N/A"], "0"),
        (['="1,234"', ' ="０.５"　'], "1234.5"),
        (['=""', '="NULL"'], "0"),
        (["999,999,999,999,999", "0.001"], "999999999999999.001"),
        (["0." + "1" * 38, "999999999999"], "999999999999." + "1" * 38),
    ],
)
def test_weight_and_yen_are_summed_as_the_file_has_them(path: Path, cells: list[str], sum_of_both: str):
    text = yard_text(*(line(YARD, net_weight=cell, amount=cell) for cell in cells))

    with reading(path, text.encode()) as reader:
        copied(reader)

    assert reader.sums == {"net_weight": Decimal(sum_of_both), "amount": Decimal(sum_of_both)}


@pytest.mark.parametrize("cell", ["1e999", "1e9999999", "9e999999999999999999", "sNaN", "-Infinity", "x"])
def test_a_cell_that_is_no_number_never_stops_the_reading(path: Path, cell: str):
    with reading(path, yard_text(*[line(YARD, net_weight=cell)] * 2)) as reader:
        assert len(copied(reader)) == 2


def test_memory_does_not_grow_with_the_file(path: Path):
    def peak(lines: int) -> int:
        header, cells = yard_text(line(YARD)).splitlines(keepends=True)
        path.write_text(header + cells * lines, encoding="cp932", newline="")
        with open_file(path) as file:
            reader = CsvReader(file, YARD)
            tracemalloc.start()
            for _ in reader.blocks(1):
                pass
            used = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert len(reader.line_numbers) == lines
            return used

    assert peak(60_000) < 2 * peak(6_000)


def test_a_block_says_which_columns_are_plain_in_it_and_the_reader_which_are_in_all(path: Path):
    dirty = line(YARD, client_name=" 架空", net_weight="NULL", quantity="１")

    with reading(path, yard_text(line(YARD), dirty, *[line(YARD)] * 5_000).encode()) as reader:
        first, second = reader.blocks(7)

    names = {column.name for column in reader.columns}
    assert names - first.plain == names - reader.plain == {"client_name", "net_weight", "quantity"}
    assert second.plain == names


def test_lines_of_many_blocks_keep_their_order_and_their_line_numbers(path: Path):
    header, cells = yard_text(line(YARD)).splitlines(keepends=True)
    two_line = yard_text(line(YARD, client_name="1行目\n2行目"), newline="\n").split("\n", 1)[1]
    lines = 12_000
    path.write_text(header + (cells * 99 + "\r\n" + two_line) * (lines // 100), encoding="cp932", newline="")

    with open_file(path) as file:
        reader = CsvReader(file, YARD)
        rows = [row for block in reader.blocks(1) for row in block.rows]

    assert rows == list(range(1, lines + 1))
    assert (reader.counts["blank_lines"], reader.lines) == (lines // 100, lines + lines // 100)
    # Each hundred takes 99 lines, a blank one and one of two lines; the header is line 1.
    assert [reader.line_numbers[row - 1] for row in (1, 99, 100, 101, 11_901, 12_000)] == [
        2,
        100,
        102,
        104,
        12_140,
        12_240,
    ]
