"""The running database's relations: the lines of `contract/existing_tables.csv`."""

import csv
from pathlib import Path
from typing import NamedTuple

CONTRACT = Path(__file__).parents[2] / "contract" / "existing_tables.csv"


class Column(NamedTuple):
    """A line of the contract."""

    relation: str
    kind: str
    position: int
    name: str
    pg_type: str
    nullable: str
    default: str


def read_contract() -> list[Column]:
    """Every column that the contract names, in its order."""
    with CONTRACT.open(encoding="utf-8", newline="") as file:
        return [
            Column(
                f"{row['schema']}.{row['relation']}",
                row["kind"],
                int(row["position"]),
                row["column"],
                row["pg_type"],
                row["nullable"],
                row["default"],
            )
            for row in csv.DictReader(file)
        ]


COLUMNS: dict[str, list[Column]] = {}
for _column in read_contract():
    COLUMNS.setdefault(_column.relation, []).append(_column)
TABLES = [name for name, columns in COLUMNS.items() if columns[0].kind == "table"]
PLAIN_VIEWS = [name for name, columns in COLUMNS.items() if columns[0].kind == "view"]
MATERIALIZED_VIEWS = [name for name, columns in COLUMNS.items() if columns[0].kind == "materialized view"]
