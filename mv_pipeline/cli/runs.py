"""Commands that run a job in this process and show its progress: ingest, refresh, backfill; and the proof.

Everything is recorded in Dagster's storage, so that the UI shows it. Importing this module imports Dagster.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import dagster as dg

from mv_pipeline.catalog.csv_kinds import KINDS, CsvList, FileKind, find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.recompute import Proof, prove_all
from mv_pipeline.checks.rules import PROOF, find_check
from mv_pipeline.cli.session import CommandError, errors
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.definitions import defs
from mv_pipeline.defs.assets.describe import asset_key
from mv_pipeline.defs.assets.intake import intake_keys, intake_step_name
from mv_pipeline.defs.checks import asset_check_result, quick_check_keys
from mv_pipeline.defs.jobs import INGEST, REFRESH_ALL, REFRESH_CHANGED, downstream_keys
from mv_pipeline.defs.sensors import changed_request, ingest_request
from mv_pipeline.intake.inbox import hidden, printable_name, reserve
from mv_pipeline.operations.uploads import UploadedFile, read_uploads
from mv_pipeline.refresh.views import prune_change_log
from mv_pipeline.settings import load_settings


def ingest_files(
    catalog: Catalog, files: Sequence[tuple[str, Path]], uploaded_by: str, *, every_asset: bool = False
) -> tuple[list[UploadedFile], dg.ExecuteInProcessResult]:
    """Copy files into the inbox, run the sensor's job on them, and read from the log what became of each.

    Args:
        files: kind and path of each, in the order in which they count; the paths stay where they are.
        every_asset: run the job of all assets and checks instead, also those that no file reaches.

    Raises:
        CommandError: a path is no CSV file.
    """
    for _, path in files:
        if not path.is_file() or path.suffix.lower() != ".csv":
            raise CommandError(f"{path} is no .csv file.")
    with Database().connect("ingest") as connection:
        newest = scalar(connection, "SELECT coalesce(max(id), 0) FROM log.upload_file")
    placed = [(kind, *_copy_beside(kind, path)) for kind, path in files]
    names = [(kind, target.name) for kind, _, target in placed]
    request = ingest_request(catalog, names, uploaded_by)

    def place() -> None:
        for _, copy, target in placed:
            copy.replace(target)

    job, keys = (None, None) if every_asset else (INGEST, request.asset_selection)
    try:
        # A running sensor sees the run before it sees the files, and leaves them to it.
        result = _run_job(
            catalog, job, f"Ingesting {len(files)} files", keys, request.run_config, request.tags, at_start=place
        )
    finally:
        for _, copy, target in placed:
            if copy.exists():
                copy.unlink()
                target.unlink()
    with Database().connect("ingest") as connection:
        uploads = read_uploads(connection, None, after=newest)
    logged = {(upload.kind, upload.file_name): upload for upload in reversed(uploads)}
    return [logged[name] for name in names if name in logged], result


def _copy_beside(kind: str, path: Path) -> tuple[Path, Path]:
    """Reserve a name in the inbox, empty, and copy a file beside it; nobody takes either as it is."""
    # With a dot in front nobody would ever take it.
    name = f"_{path.name}" if path.name.startswith(".") else path.name
    target = reserve(load_settings().inbox_dir / find_kind(kind).name, printable_name(name))
    copy = hidden(target)
    shutil.copyfile(path, copy)
    return copy, target


def refresh_views(
    catalog: Catalog, names: Sequence[str], csv_list: CsvList | None, full: bool
) -> tuple[str, list[str]]:
    """Refresh views after rolling up what changed upstream of them; what is upstream is refreshed only if it has news.

    Args:
        names: the views; empty: all, or those downstream of `csv_list`.
        csv_list: a list whose downstream views are refreshed.
        full: recompute the rollups upstream from the staging lines.

    Returns:
        The run's number and the views that it refreshed.

    Raises:
        CommandError: a name is no materialized view or rollup, or the run failed.
    """
    stored = [relation.name for relation in (*catalog.materialized_views, *catalog.rollups)]
    unknown = [name for name in names if name not in stored]
    if unknown:
        raise CommandError(f"No materialized view or rollup: {', '.join(unknown)}. There are: {', '.join(stored)}.")
    wanted = list(names)
    if csv_list:
        tables = {f"stg.{kind.name}" for kind in KINDS if kind.list == csv_list}
        wanted = [name for name in catalog.relations if catalog.upstream(name) & tables]
    # A job's own configuration names all of its steps, so a part of them runs as the job that has none.
    job, keys = (REFRESH_CHANGED, changed_request(catalog, wanted).asset_selection) if wanted else (REFRESH_ALL, None)
    configs = {view.name: {"always": view.name in wanted} for view in catalog.materialized_views}
    configs |= {rollup.name: {"full": full} for rollup in catalog.rollups}
    steps = {asset_key(name): {"config": config} for name, config in configs.items()}
    ops = {key.to_python_identifier(): step for key, step in steps.items() if keys is None or key in keys}
    result = _run_job(catalog, job, "Refreshing", keys, {"ops": ops})
    require_success(result)
    return result.run_id, [
        ".".join(event.asset_key.path)
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.materialization.metadata.get("refreshed") == dg.BoolMetadataValue(True)
    ]


def backfill(catalog: Catalog, kind: FileKind, first: date, last: date) -> dict[str, int]:
    """Derive the stg rows of a kind from `first` to `last`, both included, again from raw, and refresh downstream.

    Returns:
        Days with raw rows and rows inserted, updated and soft-deleted, by name.

    Raises:
        CommandError: the run failed.
    """
    step, (_, stg) = intake_step_name(kind), intake_keys(kind)
    keys = [stg, *downstream_keys(catalog, {f"stg.{kind.name}"})]
    config = {"ops": {step: {"config": {"derive_from": first.isoformat(), "derive_to": last.isoformat()}}}}
    result = _run_job(catalog, INGEST, f"Deriving {kind.name}", keys, config)
    require_success(result)
    (totals,) = (done.metadata for done in result.asset_materializations_for_node(step) if done.partition is None)
    return {name: int(str(totals[name].value)) for name in ("days", "inserted", "updated", "deleted")}


def prove(catalog: Catalog, *, repair: bool) -> dict[str, Proof]:
    """Prove every rollup and materialized view, as the nightly run does, and record each result at its check.

    Returns:
        Each proof, by name.
    """
    found = {}
    with dg.DagsterInstance.get() as instance, errors.status("Proving …") as status:
        for name, proof in prove_all(Database(), catalog, repair=repair):
            found[name] = proof
            status.update(f"Proving: {name} done …")
            check = find_check(catalog, name, PROOF)
            shown = asset_check_result(asset_key(name), check, proof.result(repaired=repair))
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=asset_key(name),
                    check_name=check.name,
                    passed=shown.passed,
                    severity=shown.severity,
                    description=shown.description,
                    metadata=shown.metadata,
                )
            )
    return found


def require_success(result: dg.ExecuteInProcessResult) -> None:
    """Check how a run ended.

    Raises:
        CommandError: it failed, or could not store a rollup; the message names steps or rollups, and the run.
    """
    unstored = [
        ".".join(event.asset_key.path)
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.materialization.metadata.get("stored") == dg.BoolMetadataValue(False)
    ]
    if not result.success:
        steps = ", ".join(str(event.step_key) for event in result.get_step_failure_events())
        raise CommandError(f"Run {result.run_id} failed{f' in {steps}' if steps else ''}; its page in the UI says why.")
    if unstored:
        names = ", ".join(unstored)
        raise CommandError(
            f"Run {result.run_id} refreshed all views, but could not store {names}: `mv-pipeline status`."
        )


def _run_job(
    catalog: Catalog,
    job_name: str | None,
    title: str,
    keys: Sequence[dg.AssetKey] | None,
    config: Mapping[str, object],
    tags: Mapping[str, str] | None = None,
    at_start: Callable[[], None] = lambda: None,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process.

    Args:
        job_name: None: Dagster's own job of all assets and checks.
        title: of its progress.
        keys: the assets to materialize, with their quick checks; None: all of the job's.
        at_start: is called once everybody can see that the run is under way, before its first step.
    """
    location = defs()
    job = location.resolve_job_def(job_name) if job_name else location.resolve_implicit_global_asset_job_def()
    if keys:
        job = job.get_subset(asset_selection=set(keys), asset_check_selection=set(quick_check_keys(catalog, keys)))
    run_id = str(uuid.uuid4())
    with dg.DagsterInstance.get() as instance, errors.status(f"{title} …") as status:
        # Its storage opens a connection for each of a run's hundreds of events, unless it is told to keep one.
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=20)

        def show(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event and event.event_type is dg.DagsterEventType.RUN_START:
                at_start()
            if event and (event.is_step_success or (event.is_step_materialization and event.partition)):
                status.update(f"{title}: {event.partition or event.step_key} done …")

        instance.add_event_listener(run_id, show)
        # The terminal shows progress; the steps' log is in the UI.
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = job.execute_in_process(
            instance=instance, run_config={**config, **quiet}, tags=tags, raise_on_error=False, run_id=run_id
        )
    # Without a daemon no sensor does it.
    with Database().connect("prune change log") as connection:
        prune_change_log(connection)
    return result
