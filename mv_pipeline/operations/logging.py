"""Logs as JSON lines, for services whose output a log service collects: time, severity, message, exception.

Our own processes write such lines themselves. Dagster's can't: `--log-format json` has other names and ends at a run's
console, since a run whose configuration names no logger takes Dagster's coloured one and `python_logs:
dagster_handler_config` only adds a handler to it; uvicorn's lines and the traceback of a dying process obey neither. So
whatever a child writes, in Dagster's usual text format or in none, passes through `relay`.
"""

import contextlib
import json
import logging
import os
import re
import select
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any, TextIO

from mv_pipeline.settings import Settings

logger = logging.getLogger("mv_pipeline")

# As Dagster's console writes it, `time - logger - LEVEL - text`, and as uvicorn does, `LEVEL:  text`.
_HEAD = re.compile(
    r"(?:(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) - (?P<logger>\S+) - )?"
    r"(?P<severity>DEBUG|INFO|WARNING|ERROR|CRITICAL)(?: - |:\s+)"
)
# JSON is whole in its line. Any other line goes on until one that begins an entry.
_ENTRY = re.compile(rf"^(?:\{{.*|.*(?:\n(?!\{{|{_HEAD.pattern}).*)*)", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
# Lines that belong together, as those of a traceback, come together.
_PAUSE_S = 0.2
_BURST_BYTES = 100_000


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        time = datetime.fromtimestamp(record.created, UTC).isoformat()
        entry = {"time": time, "severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logs(settings: Settings) -> None:
    """Let this process log to stderr as the settings say; without JSON, as Python does by itself."""
    if settings.log_format == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.captureWarnings(True)
        logger.setLevel(logging.INFO)


def in_json() -> bool:
    """True if this process logs JSON."""
    return logger.level != logging.NOTSET


def relay(source: IO[bytes], target: TextIO) -> None:
    """Pass on what a child writes, one JSON line an entry, until it closes its end.

    It never stops reading: a child whose pipe is full would stop working.

    Args:
        source: a pipe.
    """
    with source:
        for burst in _bursts(source.fileno()):
            for entry in _ENTRY.finditer(burst):
                if entry[0].strip():
                    with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                        print(json.dumps(as_entry(entry[0]), ensure_ascii=False), file=target, flush=True)


def _bursts(pipe: int) -> Iterator[str]:
    """What comes without a pause, in whole lines."""
    data = b""
    while chunk := os.read(pipe, _BURST_BYTES):
        data += chunk
        paused = not select.select([pipe], [], [], _PAUSE_S)[0]
        if paused or len(data) > _BURST_BYTES:
            cut = len(data) if paused else data.rfind(b"\n") + 1 or len(data)
            yield _COLOUR.sub(b"", data[:cut]).decode(errors="replace")
            data = data[cut:]
    yield _COLOUR.sub(b"", data).decode(errors="replace")


def as_entry(text: str) -> dict[str, Any]:
    """Make an entry of lines that belong together: our own JSON, or any text."""
    with contextlib.suppress(ValueError, RecursionError):
        entry = json.loads(text)
        if isinstance(entry, dict) and {"time", "severity", "message"} <= entry.keys():
            return entry
    head = _HEAD.match(text)
    message, mark, trace = text[head.end() if head else 0 :].partition(_TRACEBACK)
    entry = {
        "time": datetime.now(UTC).isoformat(),
        "severity": head["severity"] if head else "ERROR" if mark else "INFO",
        "message": message.strip() or trace.strip().rpartition("\n")[2],
    }
    if head and head["time"]:
        at = datetime.strptime(head["time"], "%Y-%m-%d %H:%M:%S %z")
        entry |= {"time": at.astimezone(UTC).isoformat(), "logger": head["logger"]}
    return {**entry, "exception": mark + trace} if mark else entry
