"""log.incident: what has been wrong since when, and who knows.

An incident is open as long as its problem is seen, and a little longer: one that comes and goes is one incident.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from mv_pipeline.database.connection import Connection
from mv_pipeline.operations.problem import COOLDOWN, GRACE, Audience, HealthProblem, Level, ProblemType

_TOLD_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Incident:
    """One row of log.incident.

    Args:
        opened_at: since when it is so.
        first_seen_at, last_seen_at: the first and the last inspection that saw it.
        closed_at: None while it is open.
        told: the receivers that know of it and not of its end.
    """

    id: int
    key: str
    type: str
    level: Level
    audience: Audience
    state: str
    title: str
    message: str
    opened_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    told: list[str]

    @property
    def is_sure(self) -> bool:
        """True if it has lasted for as long as its type has to."""
        return self.last_seen_at - self.first_seen_at >= GRACE.get(self.type, timedelta())


@dataclass(frozen=True)
class IncidentChanges:
    """What an inspection changes.

    Args:
        new: problems without an open incident.
        known: those with one.
        changed: those with one that has to be told again.
        over: open incidents whose problem is gone.
    """

    new: list[HealthProblem]
    known: list[HealthProblem]
    changed: list[HealthProblem]
    over: list[Incident]


def plan_changes(
    open_incidents: Iterable[Incident], problems: Sequence[HealthProblem], inspected: Collection[str], now: datetime
) -> IncidentChanges:
    """Compare what holds now with the open incidents.

    Args:
        open_incidents: the open incidents.
        problems: what holds now.
        inspected: the types that were inspected; of others nothing is known, so none of them is over.
            Types that an earlier version knew are over.
        now: aware.
    """
    by_key = {incident.key: incident for incident in open_incidents}
    held = {problem.key for problem in problems}
    known = [problem for problem in problems if problem.key in by_key]
    return IncidentChanges(
        new=[problem for problem in problems if problem.key not in by_key],
        known=[problem for problem in known if problem.state == by_key[problem.key].state],
        changed=[problem for problem in known if problem.state != by_key[problem.key].state],
        over=[
            incident
            for incident in by_key.values()
            if incident.key not in held
            and (incident.type in inspected or incident.type not in set(ProblemType))
            and now - incident.last_seen_at >= COOLDOWN
        ],
    )


def read_open(connection: Connection) -> list[Incident]:
    """The open incidents, the oldest first."""
    return _read(connection, "WHERE closed_at IS NULL", [])


def read_untold(connection: Connection, now: datetime) -> list[Incident]:
    """The incidents that somebody may still have to be told of, or of whose end; the oldest first."""
    return _read(connection, "WHERE closed_at IS NULL OR (told <> '{}' AND closed_at > %s)", [now - _TOLD_FOR])


def _read(connection: Connection, where: str, params: list[object]) -> list[Incident]:
    cursor = connection.cursor(row_factory=class_row(Incident))
    return cursor.execute(
        "SELECT id, key, kind AS type, level, audience, state, title, message, opened_at, first_seen_at, last_seen_at, "
        f"closed_at, told FROM log.incident {where} ORDER BY id".encode(),
        params,
    ).fetchall()


def save_changes(connection: Connection, changes: IncidentChanges, now: datetime) -> None:
    """Write what an inspection has changed, in one transaction.

    Args:
        connection: in autocommit mode.
        changes: as `plan_changes` gave it.
        now: aware.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO log.incident (key, kind, level, audience, state, title, message, opened_at, first_seen_at, "
            "last_seen_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [(c.key, c.type, c.level, c.audience, c.state, c.title, c.message, c.since, now, now) for c in changes.new],
        )
        cursor.executemany(
            "UPDATE log.incident SET state = %s, level = %s, title = %s, message = %s, opened_at = %s, told = '{}', "
            "notified_at = NULL WHERE key = %s AND closed_at IS NULL",
            [(c.state, c.level, c.title, c.message, c.since, c.key) for c in changes.changed],
        )
        cursor.execute(
            "UPDATE log.incident SET last_seen_at = %s WHERE key = ANY (%s) AND closed_at IS NULL",
            [now, [problem.key for problem in (*changes.known, *changes.changed)]],
        )
        cursor.execute(
            "UPDATE log.incident SET closed_at = %s WHERE id = ANY (%s)", [now, [over.id for over in changes.over]]
        )


def note_told(connection: Connection, incidents: Sequence[Incident], receiver: str, now: datetime) -> None:
    """Remember that a receiver knows of the incidents."""
    connection.execute(
        "UPDATE log.incident SET told = array_append(told, %s), notified_at = coalesce(notified_at, %s) "
        "WHERE id = ANY (%s)",
        [receiver, now, [incident.id for incident in incidents]],
    )


def note_told_of_end(connection: Connection, incidents: Sequence[Incident], receiver: str) -> None:
    """Remember that a receiver knows that the incidents are over."""
    connection.execute(
        "UPDATE log.incident SET told = array_remove(told, %s) WHERE id = ANY (%s)",
        [receiver, [incident.id for incident in incidents]],
    )
