"""Logs as JSON lines: what our own loggers write, and what becomes of a child's output."""

import io
import json
import logging
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from mv_pipeline.operations.logging import JsonFormatter, as_entry, relay
from mv_pipeline_tests.processes import TIMEOUT_S, wait_for

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    1 / 0\nZeroDivisionError: by zero'


def formatted(level, message, *args, error=None):
    info = (type(error), error, error.__traceback__) if error else None
    return json.loads(JsonFormatter().format(logging.LogRecord("plant", level, "a.py", 1, message, args, info)))


@pytest.mark.parametrize("severity", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_a_record_is_one_line_with_the_names_that_log_services_know(severity):
    before = datetime.now(UTC)
    entry = formatted(getattr(logging, severity), "受入 %s\nline two", 5)

    assert {name: entry[name] for name in ("severity", "message", "logger")} == {
        "severity": severity,
        "message": "受入 5\nline two",
        "logger": "plant",
    }
    # A record keeps its time as a float.
    assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(entry["time"]) <= datetime.now(UTC)


def test_an_exception_is_told_with_its_traceback():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        entry = formatted(logging.ERROR, "failed", error=error)

    assert entry["message"] == "failed"
    assert entry["exception"].startswith("Traceback (most recent call last):")
    assert entry["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("text", "severity", "message"),
    [
        ('{"time": "t", "severity": "ERROR", "message": "ours"}', "ERROR", "ours"),
        ("2025-12-11 09:00:00 +0900 - dagster - DEBUG - ingest - started", "DEBUG", "ingest - started"),
        ("2025-12-11 09:00:00 +0900 - dagster - ERROR - two\nlines", "ERROR", "two\nlines"),
        ("WARNING:  Invalid HTTP request received.", "WARNING", "Invalid HTTP request received."),
        (TRACE, "ERROR", "ZeroDivisionError: by zero"),
        ("anything else", "INFO", "anything else"),
        ('{"no": "entry"}', "INFO", '{"no": "entry"}'),
        ("[" * 100_000, "INFO", "[" * 100_000),
    ],
)
def test_whatever_a_child_writes_becomes_an_entry(text, severity, message):
    entry = as_entry(text)

    assert (entry["severity"], entry["message"]) == (severity, message)
    assert entry["time"]


def test_a_time_that_is_given_is_kept_and_a_traceback_is_by_itself():
    entry = as_entry(f"2025-12-11 09:00:00 +0900 - dagster - ERROR - step failed\n{TRACE}")

    assert (entry["time"], entry["logger"]) == ("2025-12-11T00:00:00+00:00", "dagster")
    assert (entry["message"], entry["exception"]) == ("step failed", TRACE)


def piped(data):
    """A pipe that a child writes so much into and then closes."""
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as child:
            child.write(data)

    threading.Thread(target=write).start()
    return os.fdopen(reading, "rb")


def test_lines_that_come_together_are_one_entry_and_json_is_always_its_own():
    ready = '{"time": "t", "severity": "INFO", "message": "ready"}'
    target = io.StringIO()

    relay(piped(f"{ready}\n{TRACE}\n{ready}\n\x1b[31mlast\x1b[0m\n".encode() + b"\xff"), target)

    found = [json.loads(text) for text in target.getvalue().splitlines()]
    assert [(entry["severity"], entry["message"]) for entry in found] == [
        ("INFO", "ready"),
        ("ERROR", "ZeroDivisionError: by zero"),
        ("INFO", "ready"),
        ("INFO", "last\n�"),
    ]
    assert found[1]["exception"] == TRACE


def test_an_entry_does_not_wait_for_the_next_one():
    reading, writing = os.pipe()
    target = io.StringIO()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", 0) as child:
        thread = threading.Thread(target=relay, args=(source, target))
        thread.start()
        child.write(b"alone\n")
        wait_for("the entry", target.getvalue)
        child.close()
        thread.join(TIMEOUT_S)

    assert json.loads(target.getvalue())["message"] == "alone"


def test_a_line_without_an_end_is_passed_on_in_pieces():
    target = io.StringIO()

    relay(piped(b"x" * 1_000_000), target)

    assert "".join(json.loads(text)["message"] for text in target.getvalue().splitlines()) == "x" * 1_000_000


def test_a_child_can_go_on_writing_when_nobody_reads_any_more():
    target = io.StringIO()
    target.close()
    relaying = threading.Thread(target=relay, args=(piped(b"line\n" * 50_000), target), daemon=True)

    relaying.start()
    relaying.join(TIMEOUT_S)

    assert not relaying.is_alive()
