"""A database that can't be reached: nothing can be noted in it, so that one incident is kept in a file in the home."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.operations.incidents import Incident
from mv_pipeline.operations.messages import news, resolved
from mv_pipeline.operations.notify import receivers, send
from mv_pipeline.operations.problem import HealthProblem, ProblemType, every_dashboard
from mv_pipeline.settings import Settings

# A restart of the server is no trouble.
_GRACE = timedelta(seconds=45)


def unreachable_database(
    subject: str, reason: str, since: datetime, catalog: Catalog, settings: Settings
) -> HealthProblem:
    """The problem of a database that can't be reached.

    Args:
        subject: `warehouse` or `dagster`.
        reason: what the driver says.
        since: aware.
        catalog: the dashboards.
        settings: links.
    """
    what = "The database" if subject == "warehouse" else "The database of Dagster"
    return HealthProblem(
        type=ProblemType.DATABASE_UNREACHABLE,
        subject=subject,
        level="failure",
        title=f"{what} can't be reached",
        happened=reason,
        since=since,
        means="No file is taken and nothing is refreshed; nothing or old rows are shown in: "
        f"{every_dashboard(catalog)}",
        todo="start the server, or correct its URL; then `mv-pipeline doctor`",
        link=settings.resolved_ui_url(),
    )


def report_unreachable(settings: Settings, catalog: Catalog, reason: str, now: datetime) -> None:
    """Tell the operators that the warehouse database can't be reached, once, if it has been so for a while.

    Args:
        settings: who is told, and where the file is kept.
        catalog: the dashboards.
        reason: what the driver says.
        now: aware.
    """
    since, told = _read(settings) or (now, [])
    if now - since >= _GRACE:
        incident = _incident(unreachable_database("warehouse", reason, since, catalog, settings), now)
        told += [
            receiver.name
            for receiver in receivers(settings, "operator")
            if receiver.name not in told and send(receiver, news([incident]))
        ]
    _path(settings).write_text(json.dumps({"since": since.isoformat(), "told": told}), encoding="utf-8")


def report_reachable(settings: Settings, catalog: Catalog, now: datetime) -> None:
    """Tell those who know of it that the database can be reached again; whoever isn't reached is told later.

    Args:
        settings: who is told, and where the file is kept.
        catalog: the dashboards.
        now: aware.
    """
    known = _read(settings)
    if known is None:
        return
    since, told = known
    incident = replace(_incident(unreachable_database("warehouse", "", since, catalog, settings), now), closed_at=now)
    left = [
        receiver.name
        for receiver in receivers(settings, "operator")
        if receiver.name in told and not send(receiver, resolved([incident]))
    ]
    if left:
        _path(settings).write_text(json.dumps({"since": since.isoformat(), "told": left}), encoding="utf-8")
    else:
        _path(settings).unlink(missing_ok=True)


def _incident(problem: HealthProblem, now: datetime) -> Incident:
    return Incident(
        id=0,
        key=problem.key,
        type=problem.type,
        level=problem.level,
        audience=problem.audience,
        state=problem.state,
        title=problem.title,
        message=problem.message,
        opened_at=problem.since,
        first_seen_at=problem.since,
        last_seen_at=now,
        closed_at=None,
        told=[],
    )


def _path(settings: Settings) -> Path:
    return settings.home / "database-away.json"


def _read(settings: Settings) -> tuple[datetime, list[str]] | None:
    with suppress(FileNotFoundError, ValueError, KeyError):
        known = json.loads(_path(settings).read_text(encoding="utf-8"))
        return datetime.fromisoformat(known["since"]), list(known["told"])
    return None
