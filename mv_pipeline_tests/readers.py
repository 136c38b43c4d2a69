"""Sessions that read without a pause, as dashboards do, while something is done to the database."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager

import psycopg

from mv_pipeline.database.connection import Connection
from mv_pipeline_tests.processes import TIMEOUT_S

Read = Callable[[Connection], Hashable]


def query(statement: str) -> Read:
    """Read all rows of a query."""
    return lambda connection: tuple(connection.execute(statement.encode()).fetchall())


def prepared(statement: str) -> Read:
    """Read all rows of a query that the session prepared at its first read, and executes ever after."""
    sessions: set[Connection] = set()

    def read(connection: Connection) -> Hashable:
        if connection not in sessions:
            connection.execute(f"PREPARE reading AS {statement}".encode())
            sessions.add(connection)
        return tuple(connection.execute("EXECUTE reading").fetchall())

    return read


class Readings:
    """What the readers have seen so far, by their names.

    Args:
        names: of the readers.
    """

    def __init__(self, names: list[str]) -> None:
        self.results: dict[str, Counter[Hashable]] = {name: Counter() for name in names}
        self.slowest_s = dict.fromkeys(names, 0.0)
        self.errors: list[str] = []
        self._changed = threading.Condition()
        self._stopped = False

    def more(self, times: int = 1) -> None:
        """Wait until every reader has read so many times more."""
        with self._changed:
            wanted = {name: results.total() + times for name, results in self.results.items()}
            enough = self._changed.wait_for(
                lambda: self.errors or all(self.results[name].total() >= total for name, total in wanted.items()),
                TIMEOUT_S,
            )
        assert not self.errors, self.errors
        assert enough, f"readers stand still: { ({name: r.total() for name, r in self.results.items()}) }"

    def stop(self) -> None:
        """Let every reader end after the read that it is in."""
        with self._changed:
            self._stopped = True

    def read(self, url: str, name: str, read: Read) -> None:
        """Read in a session of its own until told to stop, or until an error."""
        with psycopg.connect(url, autocommit=True, application_name=f"reader {name}") as connection:
            while not self._stopped:
                started = time.monotonic()
                try:
                    result = read(connection)
                except psycopg.Error as error:
                    with self._changed:
                        self.errors.append(f"{name}: {type(error).__name__}: {error}")
                        self._changed.notify_all()
                    return
                with self._changed:
                    self.results[name][result] += 1
                    self.slowest_s[name] = max(self.slowest_s[name], time.monotonic() - started)
                    self._changed.notify_all()


@contextmanager
def reading(url: str, reads: Mapping[str, Read]) -> Iterator[Readings]:
    """Let one session for each name read during the block; all have read once before it begins and after it ends."""
    readings = Readings(list(reads))
    threads = [threading.Thread(target=readings.read, args=(url, name, read)) for name, read in reads.items()]
    for thread in threads:
        thread.start()
    try:
        readings.more()
        yield readings
        readings.more()
    finally:
        readings.stop()
        for thread in threads:
            thread.join()
