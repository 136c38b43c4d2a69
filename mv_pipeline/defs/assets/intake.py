"""raw/<kind> and stg/<kind>: one step, because a file's raw and stg rows are committed together.

Without a partition the step takes files from the inbox. With partitions, or with days in its
configuration, it takes none and derives the stg rows of those days again from raw; a range of days is one run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

import dagster as dg
import psycopg
from pydantic import Field

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.database.connection import Connection, Database, is_transient
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.assets.failures import RETRIES, failing_at_once
from mv_pipeline.intake.backfill import derive_days, months
from mv_pipeline.intake.inbox import scan
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.intake.upload_log import count_lines
from mv_pipeline.refresh.reference import CALENDAR_START
from mv_pipeline.settings import TIME_ZONE, load_settings

DAYS = dg.DailyPartitionsDefinition(start_date=CALENDAR_START.isoformat(), timezone=str(TIME_ZONE), end_offset=1)


class IntakeConfig(dg.Config):
    """Which files to take, or which days to derive.

    Args:
        files: printable names in the kind's folder; empty: all that have come to rest.
        derive_from, derive_to: take no file, but derive the stg rows of these days (ISO, both included) from raw.
    """

    files: list[str] = Field(default_factory=list)
    uploaded_by: str = "mv_pipeline"
    derive_from: str = ""
    derive_to: str = ""


def intake_keys(kind: FileKind) -> list[dg.AssetKey]:
    """The keys of a kind's raw and stg assets."""
    return [describe.asset_key(f"raw.{kind.name}"), describe.asset_key(f"stg.{kind.name}")]


def intake_step_name(kind: FileKind) -> str:
    """The name of the step that takes a kind's files, for run configuration."""
    return f"intake_{kind.name}"


def build_intake_asset(kind: FileKind) -> dg.AssetsDefinition:
    """Make the step behind `raw/<kind>` and `stg/<kind>`."""
    raw, stg = intake_keys(kind)
    raw_types = {**dict.fromkeys(kind.raw_columns, "text"), "upload_file_id": "integer", "source_row_no": "integer"}
    stg_types = {column.name: column.pg_type for column in kind.columns}
    raw_spec = dg.AssetSpec(
        **describe.table(
            f"raw.{kind.name}",
            "intake",
            "csv",
            f"{kind.title}のCSVのセルを、そのままの文字で1行ずつ。",
            f"The cells of the {kind.version} {kind.list.csv_type} files as text, line by line.",
        ),
        skippable=True,
    ).merge_attributes(metadata={"dagster/column_schema": describe.table_schema(raw_types)})
    stg_spec = dg.AssetSpec(
        **describe.table(
            f"stg.{kind.name}",
            "staging",
            "table",
            f"{kind.title}の明細（型変換済み）。日ごとに最後のアップロードの行だけが有効です。",
            "Typed lines; per slip date only the last upload's rows are active, earlier ones are soft-deleted.",
        ),
        deps=[raw],
        partitions_def=DAYS,
        skippable=True,
    ).merge_attributes(
        metadata={"dagster/column_schema": describe.table_schema(stg_types), "partition_expr": "slip_date"}
    )

    @dg.multi_asset(
        name=intake_step_name(kind),
        specs=[raw_spec, stg_spec],
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
            partitioned = context.has_partition_key or context.has_partition_key_range
            first, last = context.partition_key_range if partitioned else (config.derive_from, config.derive_to)
            if first and last:
                totals = _derive(context, connection, kind, first, last, mark=not partitioned)
                yield dg.MaterializeResult(asset_key=stg, metadata=totals)
                return
            takes_files = raw in context.selected_asset_keys
            uploads = _take_files(context, connection, kind, config) if takes_files else []
            rows = {
                "dagster/row_count": count_lines(connection, kind),
                "rows_loaded": sum(upload.rows for upload in uploads),
            }
            if takes_files:
                yield dg.MaterializeResult(asset_key=raw, metadata={**rows, "files": _upload_table(uploads)})
            if stg in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=stg,
                    metadata={
                        **rows,
                        "days": len({day for upload in uploads for day in upload.days or ()}),
                        **sum((Counter(upload.counts) for upload in uploads), Counter[str]()),
                    },
                )

    return intake


def _take_files(
    context: dg.AssetExecutionContext, connection: Connection, kind: FileKind, config: IntakeConfig
) -> list[Upload]:
    settings = load_settings()
    uploads: list[Upload] = []
    failures: dict[str, Exception] = {}
    found = scan(settings.inbox_dir)
    at_rest = found.at_rest({}, settings.settle_seconds, settings.unfinished_seconds)
    # In the order in which they are named; a name finds files, and never leads out of the folder.
    own = [file for file in at_rest if file.kind == kind.name]
    for file in found.named(kind.name, config.files) if config.files else own:
        try:
            upload = take_file(connection, settings, kind, file.path, config.uploaded_by)
        except (psycopg.Error, OSError) as error:
            # The file stays in the inbox for the next run; the other files don't have to wait for it.
            failures[file.name] = error
            if connection.closed:
                break
            continue
        if upload is None:
            context.log.info(f"{file.name} is gone, or not finished yet; nothing was done.")
            continue
        context.log.info(f"{file.name}: {upload.status}, {upload.rows} rows. {upload.message}")
        # At once, whatever becomes of the next file.
        _mark(context, kind, upload.days or {})
        uploads.append(upload)
    if failures:
        reasons = "; ".join(f"{name}: {str(error).strip()}" for name, error in failures.items())
        raise dg.Failure(
            f"These files could not be taken and stay in the inbox: {reasons}",
            metadata={"taken": _upload_table(uploads)},
            allow_retries=all(map(is_transient, failures.values())),
        )
    return uploads


def _mark(context: dg.AssetExecutionContext, kind: FileKind, days: Mapping[date, int | None]) -> None:
    """Mark days as materialized, with their rows where they are known."""
    _, stg = intake_keys(kind)
    for day, rows in days.items():
        metadata = {"dagster/partition_row_count": rows} if rows is not None else None
        context.log_event(dg.AssetMaterialization(stg, partition=day.isoformat(), metadata=metadata))


def _derive(
    context: dg.AssetExecutionContext, connection: Connection, kind: FileKind, first: str, last: str, *, mark: bool
) -> dict[str, int]:
    """Derive a range of days month by month, each in a transaction; mark each day if Dagster won't do so itself."""
    totals = Counter[str]()
    for month_first, month_last in months(date.fromisoformat(first), date.fromisoformat(last)):
        with connection.transaction():
            done = derive_days(connection, kind, month_first, month_last)
        totals.update(days=len(done.days), inserted=done.inserted, updated=done.updated, deleted=done.deleted)
        if mark:
            _mark(context, kind, dict.fromkeys(done.days))
    return totals


def _upload_table(uploads: list[Upload]) -> dg.TableMetadataValue:
    columns = {"upload_file_id": "int", "file": "string", "status": "string", "rows": "int", "message": "string"}
    return describe.metadata_table(columns, ((u.id, u.file_name, u.status, u.rows, u.message) for u in uploads))


intake_assets = [build_intake_asset(kind) for kind in KINDS]
