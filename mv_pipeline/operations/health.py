"""One inspection: what is wrong now, what of it is news, and telling those who are to know.

The sensor and `mv-pipeline watch` do the same; whoever holds the lock tells.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from mv_pipeline.database.connection import Connection, scalar, session_lock_if_free
from mv_pipeline.operations.incidents import (
    Incident,
    note_told,
    note_told_of_end,
    plan_changes,
    read_open,
    read_untold,
    save_changes,
)
from mv_pipeline.operations.messages import Message, news, resolved
from mv_pipeline.operations.notify import Receiver, receivers, send
from mv_pipeline.operations.problem import Audience, HealthProblem
from mv_pipeline.settings import Settings

_AUDIENCES: tuple[Audience, ...] = ("operator", "office")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class IncidentUpdate:
    """What an inspection found and did.

    Args:
        open: the open incidents.
        sent: how many messages went out.
        failed: the receivers that could not be reached; they are tried again at the next inspection.
    """

    open: list[Incident]
    sent: int = 0
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line about it."""
        titles = f": {'; '.join(incident.title for incident in self.open)}" if self.open else ""
        unreached = f" Not reached: {', '.join(self.failed)}." if self.failed else ""
        return f"{len(self.open)} incidents are open{titles}. {self.sent} messages sent.{unreached}"


def is_ready(connection: Connection) -> bool:
    """True if the database has been migrated so far that incidents can be kept."""
    return bool(scalar(connection, "SELECT to_regclass('log.incident') IS NOT NULL"))


def update_incidents(
    connection: Connection,
    settings: Settings,
    problems: Sequence[HealthProblem],
    inspected: Collection[str],
    now: datetime,
) -> IncidentUpdate:
    """Record what is wrong, and send what has to be sent; if another is under way, that one does it.

    Args:
        connection: in autocommit mode, without a transaction: messages are sent outside of any.
        settings: who is told.
        problems: everything that is wrong.
        inspected: the types of problems that were inspected.
        now: aware.
    """
    with session_lock_if_free(connection, "alerts") as mine:
        if not mine:
            return IncidentUpdate(read_open(connection))
        changes = plan_changes(read_open(connection), problems, inspected, now)
        save_changes(connection, changes, now)
        for problem in (*changes.new, *changes.changed):
            _LOG.log(
                logging.ERROR if problem.level == "failure" else logging.WARNING,
                "%s\n%s",
                problem.title,
                problem.message,
            )
        for incident in changes.over:
            _LOG.info("Resolved: %s", incident.title)
        sent, failed = _tell(connection, settings, now)
        return IncidentUpdate(read_open(connection), sent, failed)


def _tell(connection: Connection, settings: Settings, now: datetime) -> tuple[int, tuple[str, ...]]:
    """Tell every receiver what it doesn't know, in at most one message of news and one of ends.

    Returns:
        The number of messages sent, and the names of the receivers that could not be reached.
    """
    incidents = read_untold(connection, now)
    audiences: dict[Receiver, list[Audience]] = {}
    for audience in _AUDIENCES:
        for receiver in receivers(settings, audience):
            audiences.setdefault(receiver, []).append(audience)
    sent, failed = 0, []
    for receiver, belongs_to in audiences.items():
        concerned = [incident for incident in incidents if incident.audience in belongs_to]
        fresh = [i for i in concerned if i.closed_at is None and i.is_sure and receiver.name not in i.told]
        over = [i for i in concerned if i.closed_at is not None and receiver.name in i.told]
        done = [
            _tell_of(receiver, fresh, news, lambda r, i: note_told(connection, i, r.name, now)),
            _tell_of(receiver, over, resolved, lambda r, i: note_told_of_end(connection, i, r.name)),
        ]
        sent += done.count(True)
        failed += [receiver.name] if False in done else []
    return sent, tuple(failed)


def _tell_of(
    receiver: Receiver,
    incidents: list[Incident],
    write: Callable[[Sequence[Incident]], Message],
    note: Callable[[Receiver, list[Incident]], None],
) -> bool | None:
    """Send one message and note it after it has gone out; None if there is nothing to tell."""
    if not incidents:
        return None
    if not send(receiver, write(incidents)):
        _LOG.warning("The receiver %s can't be reached; it is tried again.", receiver.name)
        return False
    note(receiver, incidents)
    return True
