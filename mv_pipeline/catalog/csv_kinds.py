"""The catalogue of CSV kinds, as csv_kinds.yaml has it: lists, their versions, columns, types and line keys.

An entry there is a list with a kind for each of its versions. A kind's raw and stg tables, its active view, its
triggers, its rollup, its assets and its inbox folder all follow from that entry; nothing else has to be
edited.
How a cell of a type is read is in `intake.cells`; what a table looks like, in `migrate.table_shapes`.
"""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from mv_pipeline.settings import OperatorError

CellType = Literal["date", "integer", "numeric", "text", "code", "time"]
Version = Literal["flash", "final"]


class Entry(BaseModel):
    """What a file states of one thing; a field that there isn't is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Entry):
    """One column of a list.

    Args:
        header: the header in the CSV file, as the trade system writes it.
        name: the column in raw and stg.
        type: how a cell is read (spec: csv_columns.csv, csv_value_type).
        required: a file without this header is rejected.
        key: part of what identifies a line of a file.
    """

    header: str
    name: str
    type: CellType
    required: bool = False
    key: bool = False

    @property
    def pg_type(self) -> str:
        """The column's PostgreSQL type in stg."""
        return "text" if self.type == "code" else self.type


class ListVersion(Entry):
    """What one version of a list has of its own.

    Args:
        priority: where several sources have rows for a day, the lowest number counts.
        raw_legacy: unused columns at the end of the raw table that existing clients may name.
    """

    priority: int
    raw_legacy: tuple[str, ...] = ()


class CsvList(Entry):
    """One list of the trade system; its flash and final versions have the same headers.

    Args:
        csv_type: receive, shipment or yard.
        title: the list's name in Japanese.
        slip_number: the column that numbers slips; distinct values are counted per day.
        columns: in the order of the stg table.
        versions: those in which the list comes.
        daily: a file is expected for every business day.
        raw_last: columns at the end of the raw table, after all others.
        raw_unused_after: a column of the raw table and the unused columns that follow it there.
    """

    csv_type: str
    title: str
    slip_number: str
    columns: tuple[Column, ...]
    versions: dict[Version, ListVersion]
    daily: bool = False
    raw_last: tuple[str, ...] = ()
    raw_unused_after: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def source_view(self) -> str:
        """The view of the source that counts on each day."""
        return f"mart.v_{self.csv_type}_source"


class FileKind(Entry):
    """One kind of CSV file: a list in one version, with a folder, a raw table and a stg table of its own.

    Args:
        version: flash (速報) or final (最終).
        list: the list that the file holds.
    """

    version: Version
    list: CsvList

    @property
    def name(self) -> str:
        """The name of the folder, of the raw table and of the stg table."""
        return f"{self.source}_{self.list.csv_type}"

    @property
    def source(self) -> str:
        """The value that `source_system` columns show."""
        return f"shogun_{self.version}"

    @property
    def title(self) -> str:
        """The kind's name in Japanese."""
        return f"{self.list.title}{'速報' if self.version == 'flash' else '最終'}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The list's columns in the order of the stg table."""
        return self.list.columns

    @property
    def priority(self) -> int:
        """Where several sources have rows for a day, the lowest number counts."""
        return self.list.versions[self.version].priority

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """The raw table's text columns in order."""
        after, unused = self.list.raw_unused_after
        names: list[str] = []
        for column in self.columns:
            if column.name not in self.list.raw_last:
                names.append(column.name)
            if column.name == after:
                names.extend(unused)
        return (*names, *self.list.raw_last, *self.list.versions[self.version].raw_legacy)


_ENTRIES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LISTS = tuple(CsvList(csv_type=csv_type, **entry) for csv_type, entry in _ENTRIES.items())
KINDS = tuple(FileKind(version=version, list=csv_list) for csv_list in LISTS for version in csv_list.versions)


class UnknownKindError(OperatorError):
    """There is no CSV kind of that name."""


def find_kind(name: str) -> FileKind:
    """Return the kind of that name.

    Raises:
        UnknownKindError: there is no such kind; the message lists the kinds that exist.
    """
    kinds = {kind.name: kind for kind in KINDS}
    if name not in kinds:
        raise UnknownKindError(f"There is no CSV kind “{name}”. The kinds are: {', '.join(kinds)}.")
    return kinds[name]
