"""One inspection: what is wrong now, what of it is news, and telling those who are to know.

The sensor `alerts` and `mv-pipeline watch` do the same; whoever holds the lock tells.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.database.dagster_storage import check_dagster_database
from mv_pipeline.operations.daemon_health import inspect_dagster
from mv_pipeline.operations.database_health import INSPECTED, inspect_warehouse
from mv_pipeline.operations.incidents import Incident, IncidentFile, IncidentStore, IncidentTable, follow
from mv_pipeline.operations.notify import Receiver, news, receivers, resolved, send
from mv_pipeline.operations.problem import Audience, HealthProblem, ProblemType, every_dashboard
from mv_pipeline.settings import OperatorError, Settings

OpenInstance = Callable[[Settings], AbstractContextManager[dg.DagsterInstance]]

_AUDIENCES: tuple[Audience, ...] = ("operator", "office")
_LOG = logging.getLogger(__name__)


class NoIncidentTableError(OperatorError):
    """The database hasn't been migrated so far that incidents can be kept."""


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


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage as the settings name it.

    Raises:
        psycopg.OperationalError: it can't be reached.
    """
    check_dagster_database(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance


def report(
    settings: Settings,
    catalog: Catalog,
    repository: dg.RepositoryDefinition,
    open_instance: OpenInstance,
    purpose: str,
    now: datetime,
) -> IncidentUpdate:
    """Inspect everything, record what is wrong, and tell people what is news.

    Args:
        settings: who is told; folders, limits and links.
        catalog: the relations.
        repository: the sensors and schedules that there should be.
        open_instance: opens Dagster's storage.
        purpose: what for, as the server shows it.
        now: aware.

    Raises:
        NoIncidentTableError: the database hasn't been migrated.
    """
    file = IncidentFile(settings.home)
    try:
        with Database().connect(purpose) as connection:
            if scalar(connection, "SELECT to_regclass('log.incident') IS NULL"):
                raise NoIncidentTableError("There is no table for incidents yet. Run `mv-pipeline migrate`.")
            problems = inspect_warehouse(connection, catalog, settings, now)
            inspected: frozenset[str] = INSPECTED
            try:
                with open_instance(settings) as instance:
                    found, also_inspected = inspect_dagster(instance, repository, catalog, settings, now)
            except psycopg.OperationalError as error:
                found = [_unreachable("dagster", error, catalog, settings, now)]
                also_inspected = frozenset({ProblemType.DATABASE_UNREACHABLE})
            table = IncidentTable(connection, now)
            with table.lock_if_free() as mine:
                if mine:
                    file.move_to(table)
            return update_incidents(table, settings, [*problems, *found], inspected | also_inspected, now)
    except psycopg.OperationalError as error:
        # What else is open lies in the table.
        problem = _unreachable("warehouse", error, catalog, settings, now)
        return update_incidents(file, settings, [problem], {problem.type}, now)


def _unreachable(
    subject: str, error: psycopg.OperationalError, catalog: Catalog, settings: Settings, now: datetime
) -> HealthProblem:
    what = "The database" if subject == "warehouse" else "The database of Dagster"
    return HealthProblem(
        type=ProblemType.DATABASE_UNREACHABLE,
        subject=subject,
        level="failure",
        title=f"{what} can't be reached",
        happened=str(error).strip(),
        since=now,
        means="No file is taken and nothing is refreshed; nothing or old rows are shown in: "
        f"{every_dashboard(catalog)}",
        todo="start the server, or correct its URL; then `mv-pipeline doctor`",
        link=settings.resolved_ui_url(),
    )


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
        sent, failed = 0, tuple[str, ...]()
        if mine:
            before = store.read()
            after = follow(before, problems, inspected, now)
            store.save(after)
            _log_news(before, after)
            sent, failed = _tell(store, settings, now)
        return IncidentUpdate([incident for incident in store.read() if incident.closed_at is None], sent, failed)


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

    Each message is noted after it has gone out.

    Returns:
        The number of messages sent, and the names of the receivers that could not be reached.
    """
    incidents = store.read()
    audiences: dict[Receiver, list[Audience]] = {}
    for audience in _AUDIENCES:
        for receiver in receivers(settings, audience):
            audiences.setdefault(receiver, []).append(audience)
    sent, failed = 0, []
    for receiver, belongs_to in audiences.items():
        name = receiver.name
        concerned = [incident for incident in incidents if incident.audience in belongs_to]
        fresh = [i for i in concerned if i.closed_at is None and i.is_sure and name not in i.told]
        over = [i for i in concerned if i.closed_at is not None and name in i.told]
        for group, write in ((fresh, news), (over, resolved)):
            if not group:
                continue
            if not send(receiver, write(group)):
                _LOG.warning("The receiver %s can't be reached; it is tried again.", name)
                failed.append(name)
                continue
            sent += 1
            for incident in group:
                incident.told = [*incident.told, name] if write is news else [n for n in incident.told if n != name]
                incident.notified_at = incident.notified_at or now
            store.save(incidents)
    return sent, tuple(dict.fromkeys(failed))
