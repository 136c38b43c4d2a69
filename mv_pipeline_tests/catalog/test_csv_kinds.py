"""The kinds' catalogue against the contract's list of headers."""

import csv
from pathlib import Path

import pytest

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, UnknownKindError, find_kind

CONTRACT = Path(__file__).parents[1] / "contract" / "csv_columns.csv"


with CONTRACT.open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))
IN_CONTRACT = [csv_list for csv_list in LISTS if csv_list.csv_type in {row["csv_type"] for row in ROWS}]


def contract_columns(csv_type: str) -> list[dict[str, str]]:
    return [row for row in ROWS if row["csv_type"] == csv_type]


def test_the_contracts_three_lists_come_in_two_versions_each():
    names = {
        "shogun_flash_receive",
        "shogun_final_receive",
        "shogun_flash_shipment",
        "shogun_final_shipment",
        "shogun_flash_yard",
        "shogun_final_yard",
    }

    assert {kind.name for kind in KINDS if kind.list in IN_CONTRACT} == names


@pytest.mark.parametrize("csv_list", IN_CONTRACT, ids=lambda csv_list: csv_list.csv_type)
def test_headers_columns_types_required_and_keys_are_the_contracts(csv_list):
    expected = {
        (row["header"], row["column"], row["pg_type"], bool(row["required_header"]), bool(row["line_key"]))
        for row in contract_columns(csv_list.csv_type)
    }

    assert {(c.header, c.name, c.pg_type, c.required, c.key) for c in csv_list.columns} == expected


@pytest.mark.parametrize("csv_list", IN_CONTRACT, ids=lambda csv_list: csv_list.csv_type)
def test_cells_are_read_as_the_contract_says(csv_list):
    for row in contract_columns(csv_list.csv_type):
        column = next(column for column in csv_list.columns if column.name == row["column"])
        assert column.type == ("time" if row["pg_type"] == "time" else row["csv_value_type"])


def test_an_unknown_kind_is_refused_with_the_kinds_there_are():
    with pytest.raises(UnknownKindError, match=r"no CSV kind “receive”.*shogun_flash_receive"):
        find_kind("receive")
