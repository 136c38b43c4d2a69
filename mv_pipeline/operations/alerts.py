"""What the sensor `alerts` and `mv-pipeline watch` do: inspect, remember what is wrong, and tell what is news of it.

Files that were written on after they were taken go back into the inbox.

Whoever holds the lock tells.
"""

import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import psycopg

from mv_pipeline.database.connection import Database
from mv_pipeline.operations.health import HEALTH_CHECKS, inspect, unreachable
from mv_pipeline.operations.incidents import Incident, IncidentFile, IncidentStore, IncidentTable, follow
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.notify import Receiver, news, receivers, resolved, send
from mv_pipeline.operations.problem import Audience, HealthProblem
from mv_pipeline.operations.taken_files import put_back_changed_files
from mv_pipeline.refresh.views import require_migrated
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


def report(installation: Installation) -> IncidentUpdate:
    """Inspect everything, record what is wrong, and tell people what is news.

    Raises:
        NotMigratedError: the database hasn't been migrated, so that no incident can be kept.
    """
    settings = installation.settings
    now = installation.now
    file = IncidentFile(settings.home)
    try:
        inspection = inspect(installation)
        table = IncidentTable(installation.connection, now)
        require_migrated(installation.connection)
        put_back_changed_files(installation.connection, settings)
        with table.lock_if_free() as mine:
            if mine:
                file.move_to(table)
        told = {found: problems for found, problems in inspection.items() if HEALTH_CHECKS[found].is_told}
        return update_incidents(table, settings, list(chain.from_iterable(told.values())), told, now)
    except psycopg.OperationalError as error:
        with contextlib.suppress(psycopg.OperationalError), Database().connect(installation.purpose) as connection:
            # Somebody ended the session, and the database is there: the next inspection is as good.
            return IncidentUpdate(_open(IncidentTable(connection, now)))
        # What else is open lies in the table.
        problem = unreachable(installation, "warehouse", error)
        return update_incidents(file, settings, [problem], {problem.type}, now)


def update_incidents(
    store: IncidentStore,
    settings: Settings,
    problems: Sequence[HealthProblem],
    inspected: Collection[str],
    now: datetime,
) -> IncidentUpdate:
    """Record what is wrong, and send what has to be sent; if another is under way, that one does it.

    Args:
        store: outside of any transaction: messages are sent meanwhile.
        settings: who is told.
        problems: everything that is wrong.
        inspected: the types of problems that were inspected.
        now: aware.
    """
    with store.lock_if_free() as mine:
        sent = 0
        failed: tuple[str, ...] = ()
        if mine:
            before = store.read()
            after = follow(before, problems, inspected, now)
            store.save(after)
            _log_news(before, after)
            sent, failed = _tell(store, settings, now)
        return IncidentUpdate(_open(store), sent, failed)


def _open(store: IncidentStore) -> list[Incident]:
    return [incident for incident in store.read() if incident.closed_at is None]


def _log_news(before: list[Incident], after: list[Incident]) -> None:
    known = {(incident.key, incident.state, incident.closed_at) for incident in before}
    for incident in after:
        if (incident.key, incident.state, incident.closed_at) in known:
            continue
        if incident.closed_at:
            _LOG.info("Resolved: %s", incident.title)
        else:
            level = logging.ERROR if incident.level == "failure" else logging.WARNING
            _LOG.log(level, "%s\n%s", incident.title, incident.message)


def _tell(store: IncidentStore, settings: Settings, now: datetime) -> tuple[int, tuple[str, ...]]:
    """Tell every receiver what it doesn't know, in at most one message of news and one of ends.

    Each message is recorded after it has gone out.

    Returns:
        The number of messages sent, and the names of the receivers that could not be reached.
    """
    incidents = store.read()
    audiences: dict[Receiver, list[Audience]] = {}
    for audience in _AUDIENCES:
        for receiver in receivers(settings, audience):
            audiences.setdefault(receiver, []).append(audience)
    sent = 0
    failed: list[str] = []
    for receiver, belongs_to in audiences.items():
        name = receiver.name
        concerned = [incident for incident in incidents if incident.audience in belongs_to]
        untold = [incident for incident in concerned if name not in incident.told]
        fresh = [incident for incident in untold if incident.closed_at is None and incident.is_sure]
        over = [incident for incident in concerned if incident.closed_at is not None and name in incident.told]
        for group, write in ((fresh, news), (over, resolved)):
            if not group:
                continue
            if not send(receiver, write(group)):
                _LOG.warning("The receiver %s can't be reached; it is tried again.", name)
                failed.append(name)
                continue
            sent += 1
            for incident in group:
                others = [other for other in incident.told if other != name]
                incident.told = [*others, name] if write is news else others
                incident.notified_at = incident.notified_at or now
            store.save(incidents)
    return sent, tuple(dict.fromkeys(failed))
