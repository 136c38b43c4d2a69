"""What the sensor `alerts` does. What can be seen only from outside the daemon, `mv-pipeline watch` sees."""

import contextlib
from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.settings import TIME_ZONE, OperatorError, load_settings


def report_problems(catalog: Catalog, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None) -> str:
    """End runs that died, inspect everything, tell people what is new, and say in a sentence what was found."""
    # Each run is a new process that loads the sensors too; it needn't wait for what sends messages.
    from mv_pipeline.operations.alerts import report
    from mv_pipeline.operations.installation import Installation
    from mv_pipeline.operations.run_life import end_dead_runs

    if repository is None:
        return "The definitions aren't there."
    # Where the database is unreachable, the inspection says so.
    with contextlib.suppress(psycopg.OperationalError):
        end_dead_runs(instance, repository.get_job(INGEST).run_tags)
    now, opened = datetime.now(TIME_ZONE), contextlib.nullcontext(instance)
    try:
        with Installation(load_settings(), catalog, repository, "alerts", now, lambda _: opened) as installation:
            return str(report(installation))
    except OperatorError as error:
        return str(error)
