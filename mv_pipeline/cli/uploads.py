"""`uploads` and `calendar`: the newest files, and which upload counts on which day, as tables."""

from collections.abc import Sequence
from datetime import date

from rich.markup import escape
from rich.table import Table

from mv_pipeline.catalog.csv_kinds import KINDS, CsvList
from mv_pipeline.cli.tables import new_table
from mv_pipeline.intake.upload_log import UploadDay, UploadedFile

_STYLES = {"loaded": "green", "rejected": "red", "missing": "red", "unfinished": "yellow", "covered": "dim"}


def uploads_table(files: Sequence[UploadedFile]) -> Table:
    """The files, one a row."""
    table = new_table(
        "Uploads, newest first (times in Asia/Tokyo)",
        *("id", "uploaded", "kind", "file", "state", "lines", "kg", "days", "by", "reason"),
        right=("id", "lines", "kg"),
    )
    for file in files:
        table.add_row(
            str(file.id),
            file.uploaded_at[:16].replace("T", " "),
            file.kind,
            escape(file.file_name),
            _styled(file.state),
            f"{file.lines:,}",
            "" if file.net_weight_kg is None else f"{file.net_weight_kg:,.0f}",
            "" if file.first_day is None else f"{file.first_day} … {file.last_day}",
            escape(file.uploaded_by or ""),
            escape(file.reason or ""),
        )
    return table


def calendar_tables(days: Sequence[UploadDay], lists: Sequence[CsvList]) -> list[Table]:
    """A table for each list: one row a day, its kinds side by side."""
    return [_calendar_table(days, csv_list) for csv_list in lists]


def missing_sentence(days: Sequence[UploadDay], csv_list: CsvList) -> str | None:
    """Which business days of a list nothing has come for; None: all are there."""
    kinds = _kind_names(csv_list)
    missing = sorted({day.ddate for day in days if day.kind in kinds and day.status == "missing"})
    if not missing:
        return None
    return f"{csv_list.csv_type}: {len(missing)} business days without a file: {', '.join(map(str, missing))}."


def _calendar_table(days: Sequence[UploadDay], csv_list: CsvList) -> Table:
    kinds = _kind_names(csv_list)
    rows: dict[date, list[UploadDay]] = {}
    for day in days:
        if day.kind in kinds:
            rows.setdefault(day.ddate, []).append(day)
    columns = [f"{kind.version} {name}" for kind in KINDS if kind.list == csv_list for name in _CELLS]
    numbers = tuple(column for column in columns if not column.endswith("status"))
    table = new_table(f"{csv_list.csv_type} {csv_list.title}", "day", "type", *columns, right=numbers)
    for ddate, cells in rows.items():
        table.add_row(
            f"{ddate} {ddate:%a}", cells[0].day_type.lower(), *(text for cell in cells for text in _texts(cell))
        )
    return table


_CELLS = ("upload", "lines", "kg", "status")


def _texts(day: UploadDay) -> tuple[str, ...]:
    if not day.lines:
        return "", "", "", _styled(day.status)
    uploads = ", ".join(map(str, day.uploads)) or "by hand"
    return uploads, f"{day.lines:,}", f"{day.net_weight_kg:,.0f}", _styled(day.status)


def _kind_names(csv_list: CsvList) -> set[str]:
    return {kind.name for kind in KINDS if kind.list == csv_list}


def _styled(word: str) -> str:
    style = _STYLES.get(word)
    return f"[{style}]{word}[/{style}]" if style else word
