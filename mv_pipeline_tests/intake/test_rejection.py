"""What a rejection says to the office and to engineers."""

import csv
import re
from pathlib import Path

import pytest

from mv_pipeline.intake.rejection import MESSAGES, Problem, RejectedFileError, summary, write_report
from mv_pipeline_tests.factory import read_report


@pytest.mark.parametrize("code", MESSAGES)
def test_every_code_has_a_japanese_and_an_english_message(code: str):
    japanese, english = MESSAGES[code]

    assert re.search("[ぁ-ん]", japanese)
    assert english.isascii()
    assert english.endswith(".")


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        (
            [Problem("bad_number", 3, "正味重量", "12kg")],
            "3行目 正味重量「12kg」：数値として読めません（整数部は12桁まで）。 [bad_number]",
        ),
        ([Problem("empty")], "ファイルが空です。 [empty]"),
        (
            [Problem("bad_number", 3, "金額", "?"), Problem("empty"), Problem("empty")],
            "3行目 金額「?」：数値として読めません（整数部は12桁まで）。（ほか2件） [bad_number]",
        ),
    ],
)
def test_the_summary_names_the_first_problem_and_how_many_more_there_are(problems: list[Problem], text: str):
    assert summary(problems, len(problems)) == text


def test_a_rejection_has_its_problems_in_the_order_of_lines():
    error = RejectedFileError(
        [
            Problem("bad_number", 9, "金額"),
            Problem("ragged_line", 2),
            Problem("bad_date", 4, "売上日付"),
            Problem("bad_date", 4, "伝票日付"),
        ]
    )

    assert [(problem.line, problem.header) for problem in error.problems] == [
        (2, ""),
        (4, "伝票日付"),
        (4, "売上日付"),
        (9, "金額"),
    ]
    assert error.count == 4


def test_a_rejection_keeps_ten_thousand_problems_and_counts_all():
    error = RejectedFileError([Problem("ragged_line", line) for line in range(2, 10_004)])

    assert (len(error.problems), error.count) == (10_000, 10_002)


def test_the_report_is_utf8_with_bom_and_has_both_languages(tmp_path: Path):
    path = tmp_path / "report.csv"

    write_report(path, RejectedFileError([Problem("bad_time", 7, "計量時間（総重量）", "25:00")]))

    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["行 line", "見出し header", "値 value", "コード code", "説明", "message"],
            [
                "7",
                "計量時間（総重量）",
                "25:00",
                "bad_time",
                "時刻として読めません。8:31 の形で入力してください。",
                "This is no time; write it as in 8:31.",
            ],
        ]


def test_a_problem_of_the_whole_file_has_no_line(tmp_path: Path):
    write_report(tmp_path / "report.csv", RejectedFileError([Problem("empty")]))

    assert read_report(tmp_path / "report.csv")[0][:4] == ["", "", "", "empty"]


@pytest.mark.parametrize(
    "value",
    [
        *("=1+1", "+1", "-1-", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\t1"),
        *("＝1+1", "＋1", "－1", "−1", "＠SUM(A1)", "﹦1", "﹢1", "﹣1", "﹫1"),
        *(" =1", "　=1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\x1f=1", "\u202e＝1"),
    ],
)
def test_the_report_never_shows_a_cell_that_a_spreadsheet_takes_for_a_formula(tmp_path: Path, value: str):
    write_report(tmp_path / "report.csv", RejectedFileError([Problem("bad_number", 2, "金額", value)]))

    assert read_report(tmp_path / "report.csv")[0][2] == "'" + value


@pytest.mark.parametrize("value", ["1=1", "12kg", "a@b", "2025/02/30", "架空", "'=1", "", "\u200b"])
def test_the_report_shows_any_other_cell_as_it_is(tmp_path: Path, value: str):
    write_report(tmp_path / "report.csv", RejectedFileError([Problem("bad_number", 2, "金額", value)]))

    assert read_report(tmp_path / "report.csv")[0][2] == value


def test_the_summary_is_one_printable_line_whatever_the_cell_holds():
    error = RejectedFileError([Problem("bad_number", 2, "金額", "1\n2\x1b[2J\u202e　3")])

    assert "「1�2�[2J�　3」" in str(error)


def test_a_long_value_is_shortened_in_report_and_summary(tmp_path: Path):
    error = RejectedFileError([Problem("bad_number", 2, "金額", "x" * 201)])

    write_report(tmp_path / "report.csv", error)

    assert read_report(tmp_path / "report.csv")[0][2] == "x" * 200 + "…"
    assert "x" * 200 + "…」" in str(error)


def test_the_report_says_how_many_problems_it_leaves_out(tmp_path: Path):
    write_report(tmp_path / "report.csv", RejectedFileError([Problem("ragged_line", 2)], count=8))

    assert read_report(tmp_path / "report.csv")[-1] == [
        "",
        "",
        "",
        "",
        "ほかに7件あります。",
        "There are 7 more.",
    ]
