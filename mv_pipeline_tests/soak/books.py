"""The soak's own books: what it dropped and did, and what has to be there at the end. No pipeline code is asked."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

RECEIVE_FINAL, RECEIVE_FLASH = "shogun_final_receive", "shogun_flash_receive"
SHIPMENT, YARD = "shogun_final_shipment", "shogun_flash_yard"
SLIPS = {RECEIVE_FINAL: "receive_no", RECEIVE_FLASH: "receive_no", SHIPMENT: "shipment_no", YARD: "slip_no"}
"""The column that numbers the slips of each kind that is dropped; the soak gives each line a number of its own."""


@dataclass(frozen=True)
class Line:
    """One line that was dropped; `number` is its own, whatever file it is in."""

    number: int
    day: date
    kg: int


@dataclass(frozen=True)
class Drop:
    """One file.

    Args:
        outcome: what has to become of it.
        at: when it was whole (s since the epoch).
        whole: its content.
    """

    kind: str
    name: str
    lines: tuple[Line, ...]
    outcome: Literal["loaded", "rejected"]
    at: float
    whole: bytes = field(repr=False)


@dataclass(frozen=True)
class Fault:
    """Something that the soak broke.

    Args:
        begun, over: when (s since the epoch); what comes of it may show later.
    """

    name: str
    begun: float
    over: float


class Books:
    """What was done, in its order; threads may write at the same time."""

    def __init__(self) -> None:
        self.drops: list[Drop] = []
        self.faults: list[Fault] = []
        self.deleted: set[int] = set()
        self.tally: Counter[str] = Counter()
        self.lost: list[str] = []
        self._lock = threading.Lock()

    def dropped(self, drop: Drop) -> None:
        with self._lock:
            self.drops.append(drop)
        if drop.outcome == "loaded":
            self.count("files dropped")
            self.count("lines dropped", len(drop.lines))
        else:
            self.count("bad files dropped")

    def broke(self, name: str, begun: float) -> None:
        with self._lock:
            self.faults.append(Fault(name, begun, time.time()))
        self.count(name)

    def soft_deleted(self, numbers: list[int]) -> None:
        with self._lock:
            self.deleted.update(numbers)
        self.count("lines soft-deleted", len(numbers))

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.tally[what] += number

    def lose(self, what: str) -> None:
        """Say that something was wrong while the soak ran."""
        with self._lock:
            self.lost.append(what)

    def good(self, kind: str) -> list[Drop]:
        return [drop for drop in self.drops if drop.kind == kind and drop.outcome == "loaded"]

    def active(self, kind: str) -> dict[int, tuple[date, int]]:
        """Day and kg of the lines that count: of each day the last file's, without those that were soft-deleted."""
        last = {line.day: drop for drop in self.good(kind) for line in drop.lines}
        return {
            line.number: (line.day, line.kg)
            for day, drop in last.items()
            for line in drop.lines
            if line.day == day and line.number not in self.deleted
        }

    def tons(self, *kinds: str) -> dict[date, Decimal]:
        """Tons by day; of a day, those of the last of these kinds that has lines there count."""
        tons: dict[date, Decimal] = {}
        for kind in kinds:
            kg: Counter[date] = Counter()
            for day, weight in self.active(kind).values():
                kg[day] += weight
            tons |= {day: Decimal(weight) / 1000 for day, weight in kg.items()}
        return tons
