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
from mv_pipeline.operations.problem import Condition, Kind, every_dashboard
from mv_pipeline.settings import Settings

# A restart of the server is no trouble.
_GRACE = timedelta(seconds=45)


def away(subject: str, reason: str, since: datetime, catalog: Catalog, settings: Settings) -> Condition:
    """The condition of a database that can't be reached.

    Args:
        subject: `plant` or `dagster`.
        reason: what the driver says.
        since: aware.
        catalog: the dashboards.
        settings: links.
    """
    what = "The database" if subject == "plant" else "The database of Dagster"
    return Condition(
        kind=Kind.DATABASE_AWAY,
        subject=subject,
        level="failure",
        title=f"{what} can't be reached",
        happened=reason,
        since=since,
        means="No file is taken and nothing is refreshed; nothing or old rows are shown in: "
        f"{every_dashboard(catalog)}",
        todo="start the server, or mend its URL; then `mv-pipeline doctor`",
        link=settings.resolved_ui_url(),
    )


def database_is_away(settings: Settings, catalog: Catalog, reason: str, now: datetime) -> None:
    """Tell the operators that the plant's database can't be reached, once, if it has been so for a while.

    Args:
        settings: who is told, and where the file is kept.
        catalog: the dashboards.
        reason: what the driver says.
        now: aware.
    """
    since, told = _read(settings) or (now, [])
    if now - since >= _GRACE:
        incident = _incident(away("plant", reason, since, catalog, settings), now)
        told += [
            receiver.name
            for receiver in receivers(settings, "operator")
            if receiver.name not in told and send(receiver, news([incident]))
        ]
    _path(settings).write_text(json.dumps({"since": since.isoformat(), "told": told}), encoding="utf-8")


def database_answers(settings: Settings, catalog: Catalog, now: datetime) -> None:
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
    incident = replace(_incident(away("plant", "", since, catalog, settings), now), closed_at=now)
    left = [
        receiver.name
        for receiver in receivers(settings, "operator")
        if receiver.name in told and not send(receiver, resolved([incident]))
    ]
    if left:
        _path(settings).write_text(json.dumps({"since": since.isoformat(), "told": left}), encoding="utf-8")
    else:
        _path(settings).unlink(missing_ok=True)


def _incident(condition: Condition, now: datetime) -> Incident:
    return Incident(
        id=0,
        key=condition.key,
        kind=condition.kind,
        level=condition.level,
        audience=condition.audience,
        state=condition.state,
        title=condition.title,
        message=condition.message,
        opened_at=condition.since,
        first_seen_at=condition.since,
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
