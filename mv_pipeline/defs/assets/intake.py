"""raw/<kind> and stg/<kind>: one step, because a file's raw and stg rows are committed together.

Without a partition the step takes files from the inbox. With partitions, or with days in its
configuration, it takes none and derives the stg rows of those days again from raw; a range of days is one run.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import psycopg
from pydantic import Field

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.database.connection import Connection, Database, is_transient, scalar
from mv_pipeline.defs.assets.describe import (
    GROUP_INTAKE,
    GROUP_STAGING,
    OWNER,
    asset_key,
    bilingual,
    table_metadata,
)
from mv_pipeline.defs.assets.failures import RETRIES, failing_at_once
from mv_pipeline.intake import inbox
from mv_pipeline.intake.backfill import derive_days, months
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.refresh.reference import CALENDAR_START
from mv_pipeline.settings import TIME_ZONE, Settings, load_settings

DAYS = dg.DailyPartitionsDefinition(start_date=CALENDAR_START.isoformat(), timezone=str(TIME_ZONE), end_offset=1)


class IntakeConfig(dg.Config):
    """Which files to take, or which days to derive.

    Args:
        files: printable names in the kind's folder; empty: all that have come to rest.
        uploaded_by: for the log.
        derive_from, derive_to: take no file, but derive the stg rows of these days (ISO, both included) from raw.
    """

    files: list[str] = Field(default_factory=list)
    uploaded_by: str = "mv_pipeline"
    derive_from: str = ""
    derive_to: str = ""


def intake_step_name(kind: FileKind) -> str:
    """The name of the step that takes a kind's files, for run configuration."""
    return f"intake_{kind.name}"


def build_intake_asset(*, kind: FileKind) -> dg.AssetsDefinition:
    """Make the step behind `raw/<kind>` and `stg/<kind>`."""
    raw, stg = asset_key(f"raw.{kind.name}"), asset_key(f"stg.{kind.name}")

    @dg.multi_asset(
        name=intake_step_name(kind),
        specs=[
            dg.AssetSpec(
                raw,
                group_name=GROUP_INTAKE,
                owners=[OWNER],
                kinds={"postgres", "csv"},
                description=bilingual(
                    f"{kind.title}のCSVのセルを、そのままの文字で1行ずつ。",
                    f"The cells of the {kind.version} {kind.list.csv_type} files as text, line by line.",
                ),
                metadata=table_metadata(
                    f"raw.{kind.name}",
                    {
                        **dict.fromkeys(kind.raw_columns, "text"),
                        "upload_file_id": "integer",
                        "source_row_no": "integer",
                    },
                ),
                skippable=True,
            ),
            dg.AssetSpec(
                stg,
                deps=[raw],
                partitions_def=DAYS,
                group_name=GROUP_STAGING,
                owners=[OWNER],
                kinds={"postgres", "table"},
                description=bilingual(
                    f"{kind.title}の明細（型変換済み）。日ごとに最後のアップロードの行だけが有効です。",
                    "Typed lines; per slip date only the last upload's rows are active, earlier ones are soft-deleted.",
                ),
                metadata={
                    **table_metadata(f"stg.{kind.name}", {column.name: column.pg_type for column in kind.columns}),
                    "partition_expr": "slip_date",
                },
                skippable=True,
            ),
        ],
        can_subset=True,
        retry_policy=RETRIES,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def intake(
        context: dg.AssetExecutionContext, config: IntakeConfig, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with (
            failing_at_once(f"The files of {kind.name} could not be taken"),
            database.connect(f"intake {kind.name}") as connection,
        ):
            if context.has_partition_key or context.has_partition_key_range:
                first, last = map(date.fromisoformat, context.partition_key_range)
                totals = _derive(context, connection, kind, first, last, mark=False)
                yield dg.MaterializeResult(asset_key=stg, metadata=totals)
                return
            if config.derive_from and config.derive_to:
                first, last = date.fromisoformat(config.derive_from), date.fromisoformat(config.derive_to)
                totals = _derive(context, connection, kind, first, last, mark=True)
                yield dg.MaterializeResult(asset_key=stg, metadata=totals)
                return
            uploads = _take_files(context, connection, kind, config) if raw in context.selected_asset_keys else []
            loaded = [upload for upload in uploads if upload.status == "loaded"]
            if raw in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=raw,
                    metadata={
                        "dagster/row_count": _rows_uploaded(connection, kind),
                        "rows_loaded": sum(upload.rows for upload in loaded),
                        "files": _upload_table(uploads),
                    },
                )
            if stg in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=stg,
                    metadata={
                        "dagster/row_count": _rows_uploaded(connection, kind),
                        "rows_loaded": sum(upload.rows for upload in loaded),
                        "days": len({day for upload in loaded for day in upload.days or ()}),
                        "blank_lines": sum(upload.blank_lines for upload in loaded),
                        "total_lines": sum(upload.total_lines for upload in loaded),
                    },
                )

    return intake


def _take_files(
    context: dg.AssetExecutionContext, connection: Connection, kind: FileKind, config: IntakeConfig
) -> list[Upload]:
    settings = load_settings()
    uploads: list[Upload] = []
    failures: list[str] = []
    permanent = False
    for file in _chosen_files(settings, kind, config):
        try:
            upload = take_file(connection, settings, kind, file.path, config.uploaded_by)
        except (psycopg.Error, OSError) as error:
            # The file stays in the inbox for the next run; the other files don't have to wait for it.
            failures.append(f"{file.name}: {str(error).strip()}")
            permanent = permanent or not isinstance(error, psycopg.Error) or not is_transient(error)
            if connection.closed:
                break
            continue
        if upload is None:
            context.log.info(f"{file.name} is gone or not at rest; nothing was done.")
            continue
        context.log.info(f"{file.name}: {upload.status}, {upload.rows} rows. {upload.message}")
        _mark_days(context, kind, upload)
        uploads.append(upload)
    if failures:
        raise dg.Failure(
            "These files could not be taken and stay in the inbox: " + "; ".join(failures),
            metadata={"taken": _upload_table(uploads)},
            allow_retries=not permanent,
        )
    return uploads


def _mark_days(context: dg.AssetExecutionContext, kind: FileKind, upload: Upload) -> None:
    """Mark a file's days at once, whatever becomes of the next file."""
    for day, rows in (upload.days or {}).items():
        context.log_event(
            dg.AssetMaterialization(
                asset_key(f"stg.{kind.name}"),
                partition=day.isoformat(),
                metadata={"dagster/partition_row_count": rows},
            )
        )


def _chosen_files(settings: Settings, kind: FileKind, config: IntakeConfig) -> list[inbox.InboxFile]:
    """The files that the configuration names, in its order; a name finds files, and never leads out of the folder."""
    found = inbox.scan(settings.inbox_dir)
    if config.files:
        return found.named(kind.name, config.files)
    return [file for file in found.at_rest({}, settings.settle_seconds) if file.kind == kind.name]


def _derive(
    context: dg.AssetExecutionContext, connection: Connection, kind: FileKind, first: date, last: date, *, mark: bool
) -> dict[str, int]:
    """Derive a range of days month by month, each in a transaction; mark each day if Dagster won't do so itself."""
    totals = dict.fromkeys(("days", "inserted", "updated", "deleted"), 0)
    for month_first, month_last in months(first, last):
        with connection.transaction():
            done = derive_days(connection, kind, month_first, month_last)
        totals["days"] += len(done.days)
        totals["inserted"] += done.inserted
        totals["updated"] += done.updated
        totals["deleted"] += done.deleted
        for day in done.days if mark else ():
            context.log_event(dg.AssetMaterialization(asset_key(f"stg.{kind.name}"), partition=day.isoformat()))
    return totals


def _rows_uploaded(connection: Connection, kind: FileKind) -> int:
    """The lines of all uploads of a kind, from the log: counting a table of years would cost more at every upload."""
    rows: int = scalar(
        connection,
        "SELECT coalesce(sum(row_count), 0) FROM log.upload_file "
        "WHERE file_type = %s AND csv_type = %s AND processing_status = 'success'",
        [kind.version.upper(), kind.list.csv_type],
    )
    return rows


def _upload_table(uploads: list[Upload]) -> dg.TableMetadataValue:
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn("upload_file_id", "int"),
            dg.TableColumn("file"),
            dg.TableColumn("status"),
            dg.TableColumn("rows", "int"),
            dg.TableColumn("message"),
        ]
    )
    records = [
        dg.TableRecord(
            {"upload_file_id": u.id, "file": u.file_name, "status": u.status, "rows": u.rows, "message": u.message}
        )
        for u in uploads
    ]
    return dg.MetadataValue.table(records, schema)


intake_assets = [build_intake_asset(kind=kind) for kind in KINDS]
