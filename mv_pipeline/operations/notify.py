"""Telling people: who receives what, one message about one incident or many, and how it is sent.

A receiver's URL holds its password or token. It is shown by its place in the setting and its scheme only.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import apprise

from mv_pipeline.operations.incidents import Incident
from mv_pipeline.operations.problem import Audience, Level, shown_time
from mv_pipeline.settings import Settings

_IN_FULL = 5
_BY_TITLE = 20
_TITLE_LENGTH = 200
_LENGTH = 1500
_TYPES = {"failure": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}


@dataclass(frozen=True)
class Message:
    """What is sent: the level decides how loud it is; `resolved` is none."""

    level: Level | None
    title: str
    body: str


def news(incidents: Sequence[Incident]) -> Message:
    """The one message about new incidents: the first ones in full, the next by their titles, the rest as a number."""
    level: Level = "failure" if any(incident.level == "failure" for incident in incidents) else "warning"
    ordered = sorted(incidents, key=lambda incident: incident.level != "failure")
    if len(ordered) == 1:
        return Message(level, _shorten(ordered[0].title, _TITLE_LENGTH), _shorten(ordered[0].message, _LENGTH))
    parts = [f"■ {incident.title}\n{_shorten(incident.message, _LENGTH)}" for incident in ordered[:_IN_FULL]]
    return Message(level, _several(ordered, "件の問題 problems"), "\n\n".join([*parts, *_rest(ordered)]))


def resolved(incidents: Sequence[Incident]) -> Message:
    """The one message about incidents that are over."""
    lines = [f"■ {incident.title}\n{_span(incident)}" for incident in incidents[:_IN_FULL]]
    title = f"解決 Resolved: {incidents[0].title}" if len(incidents) == 1 else _several(incidents, "件が解決 resolved")
    return Message(None, _shorten(title, _TITLE_LENGTH), "\n\n".join([*lines, *_rest(incidents)]))


def _several(incidents: Sequence[Incident], what: str) -> str:
    return _shorten(f"{len(incidents)} {what}: {'; '.join(incident.title for incident in incidents)}", _TITLE_LENGTH)


def _rest(incidents: Sequence[Incident]) -> list[str]:
    titles = [f"■ {_shorten(incident.title, _TITLE_LENGTH)}" for incident in incidents[_IN_FULL : _IN_FULL + _BY_TITLE]]
    left = len(incidents) - _IN_FULL - _BY_TITLE
    more = [f"ほか{left}件 and {left} more; `mv-pipeline watch` lists them"] if left > 0 else []
    return ["\n".join([*titles, *more])] if titles else []


def _span(incident: Incident) -> str:
    return f"{shown_time(incident.opened_at)} – {shown_time(incident.last_seen_at)}"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


@dataclass(frozen=True)
class Receiver:
    """One who is told; the name is what logs and the database show."""

    name: str
    url: str = field(repr=False)


def receivers(settings: Settings, audience: Audience) -> list[Receiver]:
    """Those who are told what is for the audience."""
    urls = settings.office_alert_urls() if audience == "office" else settings.operator_alert_urls()
    return [Receiver(f"{number} {url.partition('://')[0].lower()}", url) for number, url in enumerate(urls, 1)]


def send(receiver: Receiver, message: Message) -> bool:
    """Send one message, and say whether it went out."""
    with _silenced():
        sender = apprise.Apprise.instantiate(receiver.url, suppress_exceptions=True)
        if sender is None:
            return False
        return bool(
            apprise.Apprise(sender).notify(
                title=message.title,
                body=message.body,
                notify_type=_TYPES[message.level] if message.level else apprise.NotifyType.SUCCESS,
                body_format=apprise.NotifyFormat.TEXT,
            )
        )


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    # Both write URLs into their messages.
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3")]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.propagate = propagate
