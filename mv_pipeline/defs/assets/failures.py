"""What a step does when the database refuses: try again what may pass by itself, fail at once where it can't.

The waiting and the trying again are Dagster's. What an error means is `database.is_transient`'s business.
"""

import contextlib
from collections.abc import Iterator

import dagster as dg
import psycopg

from mv_pipeline.database.connection import is_transient

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
