"""How `ingest`, `demo` and `calendar` show what has been uploaded."""

from collections.abc import Iterator, Sequence
from datetime import date

from mv_pipeline.catalog.csv_kinds import CsvList, find_kind
from mv_pipeline.intake.upload_log import UploadDay
from mv_pipeline.operations.uploads import UploadedFile

_LOGGED = {"loaded": "success", "rejected": "failed"}


def ingest_record(upload: UploadedFile) -> dict[str, object]:
    """What became of one file, with the status as the log names it."""
    return {
        "kind": upload.kind,
        "file_name": upload.file_name,
        "upload_file_id": upload.id,
        "status": _LOGGED.get(upload.state, upload.state),
        "rows": upload.lines,
        "message": upload.reason,
    }


def calendar_records(days: Sequence[UploadDay], csv_list: CsvList) -> list[dict[str, object]]:
    """A list's days: upload, lines, kg and status of its kinds side by side."""
    records: dict[date, dict[str, object]] = {}
    for day in days:
        kind = find_kind(day.kind)
        if kind.list == csv_list:
            record = records.setdefault(day.ddate, {"day": f"{day.ddate:%Y-%m-%d %a}", "type": day.day_type.lower()})
            record[f"{kind.version} upload"] = (day.uploads or "by hand") if day.lines else None
            record[f"{kind.version} lines"] = day.lines or None
            record[f"{kind.version} kg"] = day.net_weight_kg if day.lines else None
            record[f"{kind.version} status"] = day.status
    return list(records.values())


def missing_sentences(days: Sequence[UploadDay], lists: Sequence[CsvList]) -> Iterator[str]:
    """Which business days of each list nothing has come for; none where all are there."""
    for csv_list in lists:
        missing = {str(day.ddate) for day in days if day.status == "missing" and find_kind(day.kind).list == csv_list}
        if missing:
            yield f"{csv_list.csv_type}: {len(missing)} business days without a file: {', '.join(sorted(missing))}."
