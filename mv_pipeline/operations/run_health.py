"""What runs have left behind: checks that failed, steps that failed, and runs that ended without a word.

A step that can't refresh a view logs that itself, and `plant` tells of it; it isn't told here again.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.assets.describe import GROUP_OVERVIEW, asset_key
from mv_pipeline.defs.checks import check_keys
from mv_pipeline.operations.dagster_private import (
    IMPLICIT_ASSET_JOB_NAME,
    AssetCheckExecutionRecord,
    JobBucket,
    newest_check_results,
)
from mv_pipeline.operations.problem import HealthProblem, ProblemType, highest_level, level_of, shown_in
from mv_pipeline.settings import TIME_ZONE, Settings

Key = dg.AssetKey | dg.AssetCheckKey
Evaluations = Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]

# Of each job; a step that keeps failing is in the newest of them.
_RUNS = 20


def newest_evaluations(instance: dg.DagsterInstance, catalog: Catalog) -> Evaluations:
    """The newest evaluation of each check that has one."""
    return {record.key: record for record in newest_check_results(instance, check_keys(catalog))}


def failed_checks(evaluations: Evaluations, catalog: Catalog, settings: Settings) -> list[HealthProblem]:
    """The checks of severity ERROR whose latest evaluation failed."""
    found = []
    for key, record in evaluations.items():
        evaluation = record.evaluation
        if evaluation is None or evaluation.passed or evaluation.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        name = ".".join(key.asset_key.path)
        # An evaluation by an earlier version has its remedy in the description only.
        remedy = str(evaluation.metadata["remedy"].value) if "remedy" in evaluation.metadata else ""
        found.append(
            HealthProblem(
                type=ProblemType.CHECK_FAILED,
                subject=f"{name}:{key.name}",
                level=level_of(catalog, name),
                title=f"The check {key.name} of {name} failed",
                happened=(evaluation.description or "").removesuffix(remedy).rstrip(),
                since=_time(_evaluated_at(record)),
                means=f"Wrong or old numbers may be shown in: {shown_in(catalog, name)}",
                todo=remedy or "The check's text says it.",
                link=_run_page(settings, record.run_id),
            )
        )
    return found


def _evaluated_at(record: AssetCheckExecutionRecord) -> float:
    return record.event.timestamp if record.event else record.create_timestamp


def failed_runs(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    evaluations: Evaluations,
    catalog: Catalog,
    settings: Settings,
) -> list[HealthProblem]:
    """The steps that failed and haven't succeeded since, and the jobs whose run ended without a step that failed.

    A step has succeeded since if it has made or checked anything since, in whatever run. A run that ended without a
    failed step is made good by a later one of its job, or when all that it was to make has been made since it began.
    """
    jobs = [name for name in repository.job_names if _is_a_job(name)]
    failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]),
        bucket_by=JobBucket(job_names=jobs, bucket_limit=_RUNS),
    )
    if not failed:
        return []
    history = _History.read(instance, repository, evaluations)
    found: dict[str, HealthProblem] = {}
    for record in sorted(failed, key=lambda record: record.storage_id, reverse=True):
        run = record.dagster_run
        keys = _keys_of(repository, run)
        if history.all_since(keys, _ended_at(record)):
            continue
        failures = list(_step_failures(instance, run.run_id))
        for failure in failures:
            # A step within a graph bears the graph's name first.
            made = history.keys_of_steps.get(failure.step.partition(".")[0])
            if made and not _is_logged(failure, made, catalog) and not history.any_since(made, failure.at):
                found.setdefault(failure.step, _failed_step(catalog, settings, run.job_name, failure, made))
        job = f"job {run.job_name}"
        if failures or job in found or history.all_since(keys, _began_at(record)) or _succeeded_since(instance, record):
            continue
        found[job] = _failed_job(instance, catalog, settings, record, keys)
    return list(found.values())


def _is_a_job(name: str) -> bool:
    """True for our jobs and for the one behind an asset's page; Dagster has a hidden one for each schedule too."""
    return not name.startswith("__") or name == IMPLICIT_ASSET_JOB_NAME


def _succeeded_since(instance: dg.DagsterInstance, failed: dg.RunRecord) -> bool:
    job = dg.RunsFilter(job_name=failed.dagster_run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS])
    return any(newest.storage_id > failed.storage_id for newest in instance.get_run_records(job, limit=1))


def _began_at(record: dg.RunRecord) -> float:
    return record.start_time or record.create_timestamp.timestamp()


def _ended_at(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


@dataclass(frozen=True)
class _StepFailure:
    """One step's failure: when, why, in which run, and whether the step has said so itself or an exception ended it."""

    step: str
    at: float
    reason: str
    run_id: str
    is_stated: bool


def _step_failures(instance: dg.DagsterInstance, run_id: str) -> Iterator[_StepFailure]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    for entry in (record.event_log_entry for record in records):
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        data = event.step_failure_data
        said = data.user_failure_data
        error = data.error.cause if data.error and data.error.cause else data.error
        yield _StepFailure(
            step=event.step_key,
            at=entry.timestamp,
            reason=_first_line((said.description if said else None) or (error.message if error else None)),
            run_id=run_id,
            is_stated=said is not None,
        )


def _is_logged(failure: _StepFailure, made: Collection[Key], catalog: Catalog) -> bool:
    """True for a view's step that has stated its failure: it does so after it has logged it."""
    return failure.is_stated and {asset_key(view.name) for view in catalog.materialized_views}.issuperset(made)


@dataclass(frozen=True)
class _History:
    """When each asset was last made and each check last evaluated, and what each step makes and checks."""

    seen_at: Mapping[Key, float]
    keys_of_steps: Mapping[str, frozenset[Key]]

    @classmethod
    def read(
        cls, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, evaluations: Evaluations
    ) -> "_History":
        steps: dict[str, set[Key]] = {}
        for asset, definition in repository.assets_defs_by_key.items():
            if definition.is_executable:
                steps.setdefault(definition.node_def.name, set()).add(asset)
        for check, checks in repository.asset_checks_defs_by_key.items():
            steps.setdefault(checks.node_def.name, set()).add(check)
        seen: dict[Key, float] = {key: _evaluated_at(record) for key, record in evaluations.items()}
        for record in instance.get_asset_records(list(repository.assets_defs_by_key)):
            made = record.asset_entry.last_materialization
            if made:
                seen[record.asset_entry.asset_key] = made.timestamp
        return cls(seen, {step: frozenset(keys) for step, keys in steps.items()})

    def any_since(self, keys: Collection[Key], at: float) -> bool:
        return any(self.seen_at.get(key, 0.0) > at for key in keys)

    def all_since(self, keys: Collection[Key], at: float) -> bool:
        return bool(keys) and all(self.seen_at.get(key, 0.0) > at for key in keys)


def _keys_of(repository: dg.RepositoryDefinition, run: dg.DagsterRun) -> frozenset[Key]:
    """The assets that a run was to make; of a run that only checks, the checks."""
    if run.asset_selection is None and not run.asset_check_selection:
        return frozenset(repository.get_job(run.job_name).asset_layer.executable_asset_keys)
    return frozenset(run.asset_selection or run.asset_check_selection or ())


def _failed_step(
    catalog: Catalog, settings: Settings, job: str, failure: _StepFailure, keys: Collection[Key]
) -> HealthProblem:
    names = _names(keys)
    only_checks = all(isinstance(key, dg.AssetCheckKey) for key in keys)
    return HealthProblem(
        type=ProblemType.RUN_FAILED,
        subject=f"step {failure.step}",
        level=highest_level(catalog, names),
        title=f"The step {failure.step} failed",
        happened=failure.reason,
        since=_time(failure.at),
        means=f"Nobody knows whether what is shown here is right: {shown_in(catalog, *names)}"
        if only_checks
        else _means(catalog, names),
        todo=_TODO.format(job="nightly" if only_checks else job),
        link=_run_page(settings, failure.run_id),
    )


def _failed_job(
    instance: dg.DagsterInstance,
    catalog: Catalog,
    settings: Settings,
    record: dg.RunRecord,
    keys: Collection[Key],
) -> HealthProblem:
    run, names = record.dagster_run, _names(keys)
    ends = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    end = ends[-1].event_log_entry.dagster_event if ends else None
    return HealthProblem(
        type=ProblemType.RUN_FAILED,
        subject=f"job {run.job_name}",
        level=highest_level(catalog, names),
        title=f"A run of the job {run.job_name} ended before its work was done",
        happened=_first_line(end.message if end else None),
        since=_time(_ended_at(record)),
        means=_means(catalog, names),
        todo=_TODO.format(job=run.job_name),
        link=_run_page(settings, run.run_id),
    )


_TODO = (
    "wait a minute, as the sensors try again by themselves; if it stays so, `mv-pipeline doctor`, mend what the reason "
    "says, and launch the job {job} from its page"
)


def _means(catalog: Catalog, names: list[str]) -> str:
    shown = [name for name in names if name.startswith(f"{GROUP_OVERVIEW}.")]
    if len(shown) == len(names):
        return f"In the UI this isn't renewed: {', '.join(shown)}; no dashboard is touched"
    return f"New data doesn't get through; older rows may be shown in: {shown_in(catalog, *names)}"


def _names(keys: Collection[Key]) -> list[str]:
    """The relations that keys stand for."""
    assets = {key.asset_key if isinstance(key, dg.AssetCheckKey) else key for key in keys}
    return sorted(".".join(asset.path) for asset in assets)


def _first_line(text: str | None) -> str:
    return text.strip().splitlines()[0] if text and text.strip() else "It says no reason."


def _run_page(settings: Settings, run_id: str) -> str:
    return f"{settings.resolved_ui_url()}/runs/{run_id}"


def _time(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, TIME_ZONE)
