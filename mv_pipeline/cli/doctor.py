"""`doctor`: what is wrong with this installation, in sentences, each with the way out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mv_pipeline.checks.rules import quick_checks
from mv_pipeline.cli.variables import KNOWN
from mv_pipeline.operations.database_health import asset_page
from mv_pipeline.operations.health import inspect
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.problem import TEXTS, HealthProblem, ProblemType
from mv_pipeline.operations.run_health import failed_check
from mv_pipeline.settings import PREFIX


@dataclass(frozen=True)
class Diagnosis:
    """One sentence about the installation."""

    level: Literal["ok", "warning", "error"]
    sentence: str


def examine(installation: Installation, origins: Mapping[str, str] | None = None) -> list[Diagnosis]:
    """Run every health check: a sentence for each problem, and one for each check that finds none.

    Args:
        origins: where each variable comes from, which is said first.
    """
    inspection = inspect(installation)
    if inspection.get(ProblemType.DEFINITION_DRIFT) == []:
        # The alerts know what the newest run of a check found; here the quick ones are run now.
        results = _run_view_checks(installation)
        known = inspection.get(ProblemType.CHECK_FAILED, [])
        inspection[ProblemType.CHECK_FAILED] = [
            *(problem for problem in known if problem.subject not in results),
            *(problem for problem in results.values() if problem),
        ]
    found = []
    for name, origin in sorted((origins or {}).items()):
        if name in KNOWN:
            found.append(Diagnosis("ok", f"{PREFIX}{name} comes from {origin}."))
        else:
            found.append(Diagnosis("warning", f"{PREFIX}{name} in {origin} is no setting. Correct or remove it."))
    for problem_type, problems in inspection.items():
        for problem in problems:
            found.append(Diagnosis("error" if problem.level == "failure" else "warning", problem.sentence))
        if not problems:
            found.append(Diagnosis("ok", TEXTS[problem_type].ok.format(installation)))
    return found


def _run_view_checks(of: Installation) -> dict[str, HealthProblem | None]:
    """The problem of each quick check of the materialized views, None if it passes, by its subject."""
    found = {}
    for view in of.catalog.materialized_views:
        for check in quick_checks(of.catalog, view.name):
            result = check.evaluate(of.connection)
            problem = failed_check(
                of,
                view.name,
                check.name,
                of.now,
                message=result.message,
                remedy=result.remedy,
                page=asset_page(view.name),
            )
            found[problem.subject] = problem if not result.passed and check.severity == "ERROR" else None
    return found
