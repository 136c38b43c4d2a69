"""What the sensor `alerts` does. What can be seen only from outside the daemon, `mv-pipeline watch` sees."""

import contextlib
from datetime import datetime

import dagster as dg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.settings import TIME_ZONE, OperatorError, load_settings


def report_problems(catalog: Catalog, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None) -> str:
    """Inspect everything, tell people what is new, and say in a sentence what was found."""
    # Each run is a new process that loads the sensors too; it needn't wait for what sends messages.
    from mv_pipeline.operations.alerts import report
    from mv_pipeline.operations.installation import Installation

    if repository is None:
        return "The definitions aren't there."
    settings, now = load_settings(), datetime.now(TIME_ZONE)
    opened = contextlib.nullcontext(instance)
    try:
        with Installation(settings, catalog, repository, "alerts", now, lambda _: opened) as installation:
            return str(report(installation))
    except OperatorError as error:
        return str(error)
