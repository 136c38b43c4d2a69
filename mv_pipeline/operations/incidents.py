"""Incidents: what has been wrong since when, and who knows; in log.incident, or in a file while that is unreachable.

An incident is open as long as its problem is seen, and a little longer: one that comes and goes is one incident.
"""

import contextlib
import fcntl
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.rows import class_row
from pydantic import TypeAdapter

from mv_pipeline.database.connection import Connection, Database, read_query
from mv_pipeline.operations.problem import COOLDOWN, GRACE, Audience, HealthProblem, Level, ProblemType

_TOLD_FOR = timedelta(days=7)


@dataclass
class Incident:
    """One row of log.incident, or one record of the file.

    Args:
        opened_at: since when it is so.
        first_seen_at, last_seen_at: the first and the last inspection that saw it.
        closed_at: None while it is open.
        notified_at: when the first receiver was told.
        told: the receivers that know of it and not of its end.
        id: None until it is in the table.
    """

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
    closed_at: datetime | None = None
    notified_at: datetime | None = None
    told: list[str] = field(default_factory=list)
    id: int | None = None

    @property
    def is_sure(self) -> bool:
        """True if it has lasted for as long as its type has to."""
        return self.last_seen_at - self.first_seen_at >= GRACE.get(self.type, timedelta())


def follow(
    incidents: Iterable[Incident], problems: Sequence[HealthProblem], inspected: Collection[str], now: datetime
) -> list[Incident]:
    """The incidents after an inspection: begun, gone on, changed or over.

    Args:
        incidents: as they were.
        problems: what is wrong now.
        inspected: the types that were inspected; of others nothing is known, so none of them is over.
            Types that an earlier version knew are over.
        now: aware.
    """
    new = {problem.key: problem for problem in problems}
    return [
        *(
            incident if incident.closed_at else _follow(incident, new.pop(incident.key, None), inspected, now)
            for incident in incidents
        ),
        *(_begin(problem, now) for problem in new.values()),
    ]


def _begin(problem: HealthProblem, now: datetime) -> Incident:
    return Incident(
        key=problem.key,
        type=problem.type.value,
        level=problem.level,
        audience=problem.audience,
        state=problem.state,
        title=problem.title,
        message=problem.message,
        opened_at=problem.since,
        first_seen_at=now,
        last_seen_at=now,
    )


def _follow(incident: Incident, problem: HealthProblem | None, inspected: Collection[str], now: datetime) -> Incident:
    if problem is None:
        is_unknown = incident.type not in inspected and incident.type in set(ProblemType)
        may_come_back = now - incident.last_seen_at < COOLDOWN
        return incident if is_unknown or may_come_back else replace(incident, closed_at=now)
    if problem.state == incident.state:
        return replace(incident, last_seen_at=now)
    # The news of the same incident is told to everybody again.
    return replace(_begin(problem, now), id=incident.id, first_seen_at=incident.first_seen_at)


class IncidentStore(Protocol):
    """Where incidents are kept."""

    def lock_if_free(self) -> AbstractContextManager[bool]:
        """Hold it for the block if nobody else does, and say whether it is held: who holds it tells."""
        ...

    def read(self) -> list[Incident]:
        """The open incidents, and those whose end somebody may still have to be told of; the oldest first."""
        ...

    def save(self, incidents: Sequence[Incident]) -> None:
        """Write all that was read and what has been added."""
        ...


class IncidentTable:
    """log.incident.

    Args:
        connection: in autocommit mode.
        now: aware.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now

    @contextlib.contextmanager
    def lock_if_free(self) -> Iterator[bool]:  # noqa: D102
        # In a transaction of its own, so that what is saved meanwhile is committed at once.
        with Database().transaction("tell problems") as connection:
            try:
                with connection.transaction():
                    connection.execute("LOCK TABLE log.incident IN SHARE UPDATE EXCLUSIVE MODE NOWAIT")
            except psycopg.errors.LockNotAvailable:
                yield False
            else:
                yield True

    def read(self) -> list[Incident]:  # noqa: D102
        cursor = self._connection.cursor(row_factory=class_row(Incident))
        return cursor.execute(read_query(__file__, "incidents"), [self._now - _TOLD_FOR]).fetchall()

    def save(self, incidents: Sequence[Incident]) -> None:  # noqa: D102
        known, new = ([i for i in incidents if (i.id is None) is is_new] for is_new in (False, True))
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(read_query(__file__, "update_incident"), map(asdict, known))
            cursor.executemany(read_query(__file__, "insert_incident"), map(asdict, new))


class IncidentFile:
    """A file in the home, for as long as the table can't be reached."""

    _records = TypeAdapter(list[Incident])

    def __init__(self, home: Path) -> None:
        self._path = home / "incidents.json"
        # What the version before kept instead.
        (home / "database-away.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock_if_free(self) -> Iterator[bool]:  # noqa: D102
        with self._path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def read(self) -> list[Incident]:  # noqa: D102
        # Nothing is in it yet, or a process was killed while it wrote.
        with contextlib.suppress(FileNotFoundError, ValueError):
            return self._records.validate_json(self._path.read_bytes())
        return []

    def save(self, incidents: Sequence[Incident]) -> None:  # noqa: D102
        self._path.write_bytes(self._records.dump_json(list(incidents)))

    def move_to(self, table: IncidentTable) -> None:
        """Put what is in the file into the table, now that it can be reached.

        Args:
            table: locked.
        """
        if self._path.exists():
            known = {incident.key for incident in table.read() if incident.closed_at is None}
            table.save([incident for incident in self.read() if incident.key not in known])
            self._path.unlink()
