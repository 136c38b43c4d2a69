"""Sending through apprise: who receives what, and nothing of their URLs in any log.

A receiver's URL holds its password or token. It is shown by its place in the setting and its scheme only.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import apprise

from mv_pipeline.operations.messages import Message
from mv_pipeline.operations.problem import Audience
from mv_pipeline.settings import Settings

_TYPES = {"failure": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
# Both write URLs into their messages.
_TALKATIVE = ("apprise", "urllib3")


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
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.propagate = propagate
