"""What one night may delete and how long it may take, so that a backlog of years doesn't make it a long one."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """The bounds of one night.

    Args:
        files: at most so many of each folder.
        rows: at most so many of each table of the log.
        runs: at most so many of Dagster's runs.
        seconds: nothing more is begun after this time.
    """

    files: int = 20_000
    rows: int = 100_000
    runs: int = 1_000
    seconds: float = 600.0
    _begun: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """The time that is left (s)."""
        return max(self._begun + self.seconds - time.monotonic(), 0.0)


@dataclass(frozen=True)
class Deleted:
    """What was deleted of one thing.

    Args:
        count: files, rows or runs.
        more: True if there is more that is old enough, for the next night.
    """

    count: int
    more: bool = False
