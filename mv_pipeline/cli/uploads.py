"""How `ingest`, `demo` and `calendar` show what has been uploaded."""

from collections.abc import Sequence
from datetime import date

from mv_pipeline.catalog.csv_kinds import KINDS, CsvList
from mv_pipeline.intake.upload_log import UploadDay, UploadedFile

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
    """A list's days, each with upload, lines, kg and status of every kind."""
    versions = {kind.name: kind.version for kind in KINDS if kind.list == csv_list}
    records: dict[date, dict[str, object]] = {}
    for day in days:
        if day.kind in versions:
            record = records.setdefault(day.ddate, {"day": f"{day.ddate:%Y-%m-%d %a}", "type": day.day_type.lower()})
            version = versions[day.kind]
            record[f"{version} upload"] = (day.uploads or "by hand") if day.lines else None
            record[f"{version} lines"] = day.lines or None
            record[f"{version} kg"] = day.net_weight_kg if day.lines else None
            record[f"{version} status"] = day.status
    return list(records.values())


def missing_sentence(days: Sequence[UploadDay], csv_list: CsvList) -> str | None:
    """Which business days of a list nothing has come for; None: all are there."""
    kinds = {kind.name for kind in KINDS if kind.list == csv_list}
    missing = sorted({str(day.ddate) for day in days if day.kind in kinds and day.status == "missing"})
    return (
        f"{csv_list.csv_type}: {len(missing)} business days without a file: {', '.join(missing)}." if missing else None
    )
