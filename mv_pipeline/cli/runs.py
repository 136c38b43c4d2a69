"""Running a job in this process, with a progress bar, recorded so that the UI shows it."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date

import dagster as dg
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mv_pipeline.catalog.relations import load_catalog
from mv_pipeline.cli.session import errors
from mv_pipeline.database.connection import Database
from mv_pipeline.definitions import defs
from mv_pipeline.defs.checks import quick_check_keys
from mv_pipeline.refresh.views import prune_change_log
from mv_pipeline.settings import load_settings


def run_job(
    job_name: str,
    asset_selection: Sequence[dg.AssetKey] | None = None,
    run_config: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    title: str = "",
    days: tuple[date, date] | None = None,
    done: dg.ExecuteInProcessResult | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process, recorded in Dagster's storage so that the UI shows it.

    Args:
        job_name: one of the code location's jobs.
        asset_selection: the assets to materialize; None: all of the job's.
        run_config: for the steps.
        tags: for the run.
        title: beside the progress bar.
        days: first and last of the days that the run marks one after the other; the bar follows them too.
        done: a run whose assets and checks are left out.
    """
    # The terminal shows progress; the steps' log stands in the UI.
    config = {**(run_config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = defs().resolve_job_def(job_name)
    run_id = str(uuid.uuid4())
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    )
    if asset_selection:
        catalog = load_catalog(load_settings().sql_dir)
        job = job.get_subset(
            asset_selection=set(asset_selection), asset_check_selection=set(quick_check_keys(catalog, asset_selection))
        )
    if done:
        job = job.get_subset(
            asset_selection=job.asset_layer.selected_asset_keys
            - {event.asset_key for event in done.all_events if event.is_step_materialization},
            asset_check_selection=job.asset_layer.asset_graph.asset_check_keys
            - {evaluation.asset_check_key for evaluation in done.get_asset_check_evaluations()},
        )
    with dg.DagsterInstance.get() as instance, bar:
        # Its storage opens a connection for each of a run's hundreds of events, unless it is told to keep one.
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=20)
        first, last = days or (date.max, date.max)
        task = bar.add_task(title or job_name, total=len(job.graph.nodes) + (last - first).days)

        def advance(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event and (event.is_step_success or event.is_step_failure or event.is_step_skipped):
                bar.advance(task)
            elif days and event and event.is_step_materialization and event.partition:
                bar.update(task, completed=(date.fromisoformat(event.partition) - first).days)

        instance.add_event_listener(run_id, advance)
        result = job.execute_in_process(
            instance=instance,
            run_config=config,
            tags=dict(tags or {}),
            raise_on_error=False,
            run_id=run_id,
        )
    # Without a daemon no sensor does it.
    with Database().connect("prune notes") as connection:
        prune_change_log(connection, load_catalog(load_settings().sql_dir))
    return result
