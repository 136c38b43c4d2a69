"""Logs as JSON lines, for services whose output a log service collects: time, severity, message, exception.

Our own processes write such lines themselves. Dagster's write JSON with names of their own if asked to
(`--log-format json`), but not from everywhere: a run's console has no such option, nor has what dies with a traceback.
So whatever a child writes passes through `relay`, which gives every entry the same names.
"""

import contextlib
import json
import logging
import queue
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any, TextIO

from mv_pipeline.settings import Settings

logger = logging.getLogger("mv_pipeline")

_SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRACEBACK = "Traceback (most recent call last):"
# As Dagster's console writes it, `time - logger - LEVEL - text`, and as uvicorn does, `LEVEL:  text`.
_HEAD = re.compile(
    rf"(?:(?P<time>\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{{4}}) - (?P<logger>\S+) - )?"
    rf"(?P<severity>{'|'.join(_SEVERITIES)})(?: - |:\s+)(?P<message>.*)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Lines that belong together, as those of a traceback, come together.
_PAUSE_S = 0.2
_MOST_LINES = 1_000


def configure_logs(settings: Settings) -> None:
    """Let this process log to stderr as the settings say; without JSON, as Python does by itself."""
    if settings.log_format == "text":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(json_formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logger.setLevel(logging.INFO)


def in_json() -> bool:
    """True if this process logs JSON."""
    return logger.level != logging.NOTSET


def json_formatter() -> logging.Formatter:
    """A formatter that writes a record as one JSON line."""
    import structlog  # only who wants JSON waits for it

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            lambda _logger, _method, entry: _renamed(entry),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def _renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Give structlog's fields, which are Dagster's too, the names that log services know."""
    rest = {name: value for name, value in entry.items() if name not in ("timestamp", "level", "event")}
    severity = str(entry.get("level", "info")).upper()
    return {
        "time": entry.get("timestamp") or _now(),
        "severity": severity if severity in _SEVERITIES else "INFO",
        "message": str(entry["event"]),
        **rest,
    }


def relay(source: IO[bytes], target: TextIO, severity: str) -> None:
    """Pass on what a child writes, one JSON line an entry, until it closes its end.

    It never stops reading: a child whose pipe is full would stand still.

    Args:
        source: the child's output.
        target: where the entries go.
        severity: of lines that don't say theirs.
    """
    lines: queue.Queue[str | None] = queue.Queue(maxsize=10_000)
    threading.Thread(target=_read, args=(source, lines), daemon=True).start()
    for entry in _entries(lines, severity):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            target.write(json.dumps(entry, ensure_ascii=False) + "\n")
            target.flush()


def _read(source: IO[bytes], lines: "queue.Queue[str | None]") -> None:
    for line in source:
        lines.put(_COLOUR.sub("", line.decode(errors="replace")).rstrip("\r\n"))
    lines.put(None)


def _entries(lines: "queue.Queue[str | None]", severity: str) -> Iterator[dict[str, Any]]:
    """Put lines together to entries: one that begins none goes on with the text of a moment ago."""
    pending: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_PAUSE_S if pending else None)
        except queue.Empty:
            line = ""
        if pending and (not line or _begins(line, pending[0]) or len(pending) == _MOST_LINES):
            yield as_entry("\n".join(pending), severity)
            pending = []
        if line is None:
            return
        if line:
            pending.append(line)


def _begins(line: str, before: str) -> bool:
    # JSON is whole in its line, so nothing goes on with it.
    return any(text.startswith("{") for text in (line, before)) or _HEAD.match(line) is not None


def as_entry(text: str, severity: str) -> dict[str, Any]:
    """Make an entry of one line, or of several that belong together.

    Args:
        text: JSON with our names or structlog's, a line with time and level, or anything else.
        severity: if the text doesn't say its own.
    """
    entry = _parsed(text)
    if entry:
        return entry
    head = _HEAD.match(text)
    message, mark, trace = (text[head.start("message") :] if head else text).partition(_TRACEBACK)
    entry = {
        "time": _now(),
        "severity": head["severity"] if head else "ERROR" if mark else severity,
        "message": message.strip() or trace.strip().rpartition("\n")[2],
    }
    if head and head["time"]:
        at = datetime.strptime(head["time"], "%Y-%m-%d %H:%M:%S %z")
        entry |= {"time": at.astimezone(UTC).isoformat(), "logger": head["logger"]}
    return {**entry, "exception": mark + trace} if mark else entry


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if "event" in entry and "level" in entry:
        return _renamed(entry)
    return entry if {"time", "severity", "message"} <= entry.keys() else None


def _now() -> str:
    return datetime.now(UTC).isoformat()
