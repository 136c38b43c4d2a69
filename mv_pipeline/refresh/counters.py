"""Running totals of what single rows of the log tell, kept in log.counter.

Reading a total costs the same however long the log is, and it never falls, though somebody deletes old rows of the log.
"""

import math

from mv_pipeline.database.connection import Connection

REFRESH_SECONDS = "refresh_seconds"
REFRESH_FAILURES = "refresh_failures"
# Upper bounds in seconds: a refresh takes some ten milliseconds, and ten minutes are an alert.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, math.inf)


def count(connection: Connection, name: str, relation: str, value: float = 0.0) -> None:
    """Count one event, in the caller's transaction.

    Args:
        name: what is counted.
        relation: the view that it happened to.
        value: what is added up (s); it also says into which bucket the event falls.
    """
    le = next(bound for bound in BUCKETS if value <= bound)
    connection.execute(
        "INSERT INTO log.counter AS old (name, relation, le, events, total) VALUES (%s, %s, %s, 1, %s) "
        "ON CONFLICT (name, relation, le) DO UPDATE SET events = old.events + 1, total = old.total + excluded.total",
        [name, relation, le, value],
    )
