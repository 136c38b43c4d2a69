"""What a step does when the database refuses: try again what may pass by itself, fail or report at once what can't.

The waiting and the trying again are Dagster's. What an error means is `database.is_transient`'s business.
"""

import contextlib
from collections.abc import Iterator

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Database, is_transient
from mv_pipeline.refresh.views import log_failure

RETRIES = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


@contextlib.contextmanager
def failing_at_once(what: str) -> Iterator[None]:
    """Let transient errors of the database out for `RETRIES`; turn the others into a failure that isn't retried.

    So are errors of the file system: the sensor comes again anyway, and by then a share may be back.

    Args:
        what: what could not be done, for the message.

    Raises:
        dagster.Failure: trying again can't help.
    """
    try:
        yield
    except (psycopg.Error, OSError) as error:
        if is_transient(error):
            raise
        raise dg.Failure(f"{what}: {str(error).strip()}", allow_retries=False) from error


def report_failure(context: dg.AssetExecutionContext, database: Database, relation: Relation, error: Exception) -> str:
    """Log in the database that a relation could not be brought up to date, and return the reason.

    Raises:
        Exception: the error itself, if `RETRIES` still has a try for it.
        psycopg.OperationalError: the database can't be reached, so the run has to say it.
    """
    if is_transient(error) and context.retry_number < RETRIES.max_retries:
        raise error
    reason = str(error).strip()
    with database.connect("report a failure") as connection:
        log_failure(connection, relation, reason, context.run.run_id)
    return reason
