"""What runs have left behind: checks that failed, steps that failed, and runs that ended without a word.

A step that can't refresh a view logs that itself, and `database_health` tells of it; it isn't told here again.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from mv_pipeline.checks.rules import STORABLE
from mv_pipeline.defs.assets.describe import RETENTION_CHECK, asset_key
from mv_pipeline.defs.jobs import NIGHTLY
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.problem import HealthProblem, ProblemType, highest_level, level_of, shown_in
from mv_pipeline.settings import TIME_ZONE

Key = dg.AssetKey | dg.AssetCheckKey

# Of each job; a step that keeps failing is in the newest of them.
_RUNS = 20


def failed_checks(of: Installation) -> Iterator[HealthProblem]:
    """The checks of severity ERROR whose newest result is bad."""
    for result, event in of.check_results:
        if result.passed or result.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        message, remedy = _message_and_remedy(result)
        yield failed_check(
            of,
            ".".join(result.asset_key.path),
            result.check_name,
            local_time(event.timestamp),
            message=message,
            remedy=remedy,
            page=f"runs/{event.run_id}",
        )


def failed_check(of: Installation, name: str, check: str, since: datetime, **facts: str) -> HealthProblem:
    """The problem of a check that failed, whoever ran it.

    Args:
        name: the table or view that it is of.
        facts: `message`, `remedy`, and `page`: where the web UI shows the result.
    """
    # What readers see of a rollup doesn't depend on whether it can be stored.
    right = check == STORABLE
    return HealthProblem.of(
        ProblemType.CHECK_FAILED,
        f"{name}:{check}",
        of.settings,
        since,
        level="warning" if right else level_of(of.catalog, name),
        check=check,
        name=name,
        means="Reading takes longer, of right numbers, in" if right else "Wrong or old numbers may be shown in",
        dashboards=shown_in(of.catalog, name),
        **facts,
    )


def incomplete_retention(of: Installation) -> Iterator[HealthProblem]:
    """The newest nightly retention, if it failed or left something."""
    for result, event in of.check_results:
        if result.check_name == RETENTION_CHECK and not result.passed:
            message, remedy = _message_and_remedy(result)
            yield HealthProblem.of(
                ProblemType.RETENTION_INCOMPLETE,
                "retention",
                of.settings,
                local_time(event.timestamp),
                message=message,
                remedy=remedy,
            )


def _message_and_remedy(result: dg.AssetCheckEvaluation) -> tuple[str, str]:
    # A result of an earlier version has its remedy in the description only.
    remedy = str(result.metadata["remedy"].value) if "remedy" in result.metadata else ""
    message = (result.description or "").removesuffix(remedy).rstrip()
    return message, remedy or "The check's text says it."


def failed_runs(of: Installation) -> list[HealthProblem]:
    """The steps that failed and haven't succeeded since, and the jobs whose run ended without a step that failed.

    A step has succeeded since if it has made or checked anything since, in whatever run. A run that ended without a
    failed step is made good by a later one of its job, or when all that it was to make has been made since it began.
    """
    failed = [
        record
        for job in of.repository.job_names
        for record in of.newest_runs(job, dg.DagsterRunStatus.FAILURE, limit=_RUNS)
    ]
    seen_at, keys_of_steps = _seen_at(of), _keys_of_steps(of.repository)
    found: dict[str, HealthProblem] = {}
    for record in sorted(failed, key=lambda record: record.storage_id, reverse=True):
        for problem in _inspect_run(of, record, seen_at, keys_of_steps):
            found.setdefault(problem.subject, problem)
    return list(found.values())


def _seen_at(of: Installation) -> dict[Key, float]:
    """When each asset was last made and each check last gave a result; never is 0."""
    seen: dict[Key, float] = defaultdict(float)
    seen.update((result.asset_check_key, event.timestamp) for result, event in of.check_results)
    for record in of.instance.get_asset_records(list(of.repository.assets_defs_by_key)):
        made = record.asset_entry.last_materialization
        if made:
            seen[record.asset_entry.asset_key] = made.timestamp
    return seen


def _keys_of_steps(repository: dg.RepositoryDefinition) -> dict[str, set[Key]]:
    """What each step makes and checks."""
    definitions = [*repository.assets_defs_by_key.values(), *repository.asset_checks_defs_by_key.values()]
    return {made.node_def.name: {*made.keys, *made.check_keys} for made in definitions if made.is_executable}


def _inspect_run(
    of: Installation, record: dg.RunRecord, seen_at: dict[Key, float], keys_of_steps: dict[str, set[Key]]
) -> Iterator[HealthProblem]:
    run = record.dagster_run
    everything = of.repository.get_job(run.job_name).asset_layer.executable_asset_keys
    keys: set[Key] = {*(run.asset_selection or run.asset_check_selection or everything)}
    began = record.start_time or record.create_timestamp.timestamp()
    ended = record.end_time or record.update_timestamp.timestamp()
    if all(seen_at[key] > ended for key in keys):
        return
    views = {asset_key(view.name) for view in of.catalog.materialized_views}
    failures = of.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    for entry in failures:
        # A step within a graph bears the graph's name first. A step that exists no more can't succeed any more.
        made = keys_of_steps.get(str(entry.step_key).partition(".")[0], set())
        # A view's step states its failure after it has logged it; an exception may have ended it before.
        is_logged = made <= views and entry.get_dagster_event().step_failure_data.user_failure_data is not None
        if made and not is_logged and all(seen_at[key] <= entry.timestamp for key in made):
            title = f"The step {entry.step_key} failed"
            yield _run_failed(of, run, f"step {entry.step_key}", title, _reason(entry), entry.timestamp, made)
    if failures or all(seen_at[key] > began for key in keys) or _succeeded_after(of, record):
        return
    ends = of.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    reason = ends[-1].get_dagster_event().message if ends else None
    title = f"A run of the job {run.job_name} ended before its work was done"
    yield _run_failed(of, run, f"job {run.job_name}", title, reason, ended, keys)


def _run_failed(
    of: Installation, run: dg.DagsterRun, subject: str, title: str, happened: str | None, at: float, keys: set[Key]
) -> HealthProblem:
    assets = {key.asset_key if isinstance(key, dg.AssetCheckKey) else key for key in keys}
    names = sorted(".".join(asset.path) for asset in assets)
    job = run.job_name
    if all(isinstance(key, dg.AssetCheckKey) for key in keys):
        means = f"Nobody knows whether what is shown here is right: {shown_in(of.catalog, *names)}"
        job = NIGHTLY
    elif all(name.startswith("overview.") for name in names):
        means = f"In the UI this isn't renewed: {', '.join(names)}; no dashboard is touched"
    else:
        means = f"New data doesn't get through; older rows may be shown in: {shown_in(of.catalog, *names)}"
    return HealthProblem.of(
        ProblemType.RUN_FAILED,
        subject,
        of.settings,
        local_time(at),
        level=highest_level(of.catalog, names),
        title=title,
        reason=first_line(happened),
        means=means,
        job=job,
        run_id=run.run_id,
    )


def _succeeded_after(of: Installation, failed: dg.RunRecord) -> bool:
    newer = of.newest_runs(failed.dagster_run.job_name, dg.DagsterRunStatus.SUCCESS, limit=1)
    return any(newest.storage_id > failed.storage_id for newest in newer)


def _reason(failed_step: dg.EventLogEntry) -> str | None:
    failure = failed_step.get_dagster_event().step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error and (failure.error.cause or failure.error)
    return error.message if error else None


def first_line(text: str | None) -> str:
    """The first line of what somebody said of a failure."""
    return text.strip().splitlines()[0] if text and text.strip() else "It says no reason."


def local_time(timestamp: float) -> datetime:
    """A time as Dagster stores it, in our time zone."""
    return datetime.fromtimestamp(timestamp, TIME_ZONE)
