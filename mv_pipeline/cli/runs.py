"""Running a job in this process, with a progress bar, recorded so that the UI shows it."""

import uuid
from collections.abc import Mapping, Sequence

import dagster as dg
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mv_pipeline.cli.session import errors
from mv_pipeline.definitions import defs


def run_job(
    job_name: str,
    asset_selection: Sequence[dg.AssetKey] | None = None,
    run_config: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    title: str = "",
) -> dg.ExecuteInProcessResult:
    """Run a job in this process, recorded in Dagster's storage so that the UI shows it.

    Args:
        job_name: one of the code location's jobs.
        asset_selection: the assets to materialize; None: all of the job's.
        run_config: for the steps.
        tags: for the run.
        title: beside the progress bar.
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
    with dg.DagsterInstance.get() as instance, bar:
        steps = (
            len(job.get_subset(asset_selection=set(asset_selection)).graph.nodes)
            if asset_selection
            else len(job.graph.nodes)
        )
        task = bar.add_task(title or job_name, total=steps)

        def advance(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event and (event.is_step_success or event.is_step_failure or event.is_step_skipped):
                bar.advance(task)

        instance.add_event_listener(run_id, advance)
        return job.execute_in_process(
            instance=instance,
            run_config=config,
            asset_selection=list(asset_selection) if asset_selection else None,
            tags=dict(tags or {}),
            raise_on_error=False,
            run_id=run_id,
        )
