"""One thing that is wrong now, and what its message says.

Finding problems is the business of `database_health`, `daemon_health` and `run_health`;
remembering them is that of `incidents`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.settings import TIME_ZONE

Level = Literal["failure", "warning"]
Audience = Literal["operator", "office"]
_SHOWN = 8


class ProblemType(StrEnum):
    """What can be wrong."""

    REJECTED_FILE = "rejected_file"
    VIEW_FAILED = "view_failed"
    CHECK_FAILED = "check_failed"
    RUN_FAILED = "run_failed"
    DATA_MISSING = "data_missing"
    REFRESH_SLOW = "refresh_slow"
    TICK_FAILED = "tick_failed"
    TICKS_STOPPED = "ticks_stopped"
    DAEMON_GONE = "daemon_gone"
    DATABASE_UNREACHABLE = "database_unreachable"


# When something counts as wrong: the thresholds that no setting names. Prometheus' rules are tested against them.
# Heartbeats come every 30 s; a tick that watches the inbox, or a run's start, may hold one up for as long again.
DAEMON_SILENT_S = 180.0
# Sensors tick every few seconds, and none of them takes minutes.
SENSOR_LATE_S = 300.0
SCHEDULE_LATE = timedelta(minutes=10)
LOW_DISK_BYTES = 1_000_000_000
# Files that came together with a rejected one don't stand for its correction.
REJECTED_BURST = timedelta(minutes=10)
# A problem that is gone for less than this and comes back is the same incident.
COOLDOWN = timedelta(minutes=2)
# After an outage the first inspection may come before the first tick, a single tick may fail, the sensors start a
# failed run's successor by themselves, and a server may be restarted: these have to last before anybody is told.
GRACE: dict[str, timedelta] = {
    ProblemType.TICK_FAILED: timedelta(minutes=1),
    ProblemType.TICKS_STOPPED: timedelta(minutes=1),
    ProblemType.RUN_FAILED: timedelta(minutes=1),
    ProblemType.DATABASE_UNREACHABLE: timedelta(seconds=45),
}


@dataclass(frozen=True)
class HealthProblem:
    """One thing that is wrong.

    Args:
        type: what kind of thing.
        subject: which one; with the type it tells one incident from another.
        level: `failure` where readers see wrong or old numbers, else `warning`.
        title: one line that says what happened.
        happened: what else is known of it.
        since: aware; since when it is so.
        means: what it means for whom.
        todo: what to do, with a command.
        link: where to look.
        audience: who can fix it.
        state: another value is news of the same incident, and told again.
    """

    type: ProblemType
    subject: str
    level: Level
    title: str
    happened: str
    since: datetime
    means: str
    todo: str
    link: str
    audience: Audience = "operator"
    state: str = ""

    @property
    def key(self) -> str:
        """What tells one incident from another."""
        return f"{self.type}:{self.subject}"

    @property
    def message(self) -> str:
        """The text of the message below its title."""
        since, means, todo, link = _LABELS[self.audience]
        lines = [
            self.happened,
            f"{since}: {shown_time(self.since)}",
            f"{means}: {self.means}",
            f"{todo}: {self.todo}",
            f"{link}: {self.link}",
        ]
        return "\n".join(line for line in lines if line)


_LABELS: dict[Audience, tuple[str, str, str, str]] = {
    "operator": ("Since", "What it means", "What to do", "Look at"),
    "office": ("発生 Since", "影響 What it means", "対応 What to do", "画面 Look at"),
}


def shown_time(at: datetime) -> str:
    """A time as messages show it."""
    return f"{at.astimezone(TIME_ZONE):%Y-%m-%d %H:%M} (Asia/Tokyo)"


def shown_in(catalog: Catalog, *names: str) -> str:
    """Where people see what the relations or tables hold, directly or through others.

    The dashboards, by title and name; where none is declared, the views in mart and ref, critical ones first.
    """
    touched = {*names, *(other for name in names for other in catalog.downstream(_loaded(name)))}
    dashboards = [
        f"{dashboard.title} ({name})"
        for name, dashboard in catalog.dashboards.items()
        if not touched.isdisjoint(dashboard.reads)
    ]
    views = [name for name in catalog.relations if name in touched and name.startswith(("mart.", "ref."))]
    views.sort(key=lambda name: catalog.relations[name].header.criticality != "critical")
    return shown_names(dashboards or views) or "no dashboard and no view"


def every_dashboard(catalog: Catalog) -> str:
    """Where people see what comes from files."""
    return shown_in(catalog, *(f"stg.{kind.name}" for kind in KINDS))


def _loaded(name: str) -> str:
    """The table that views read: what comes into raw reaches them through stg."""
    return name.replace("raw.", "stg.", 1) if name.startswith("raw.") else name


def shown_names(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def level_of(catalog: Catalog, name: str) -> Level:
    """`failure` if a critical view is, or reads, the relation or table of that name; else `warning`."""
    names = (name, *catalog.downstream(_loaded(name)))
    touched = [catalog.relations[other] for other in names if other in catalog.relations]
    return "failure" if any(relation.header.criticality == "critical" for relation in touched) else "warning"


def highest_level(catalog: Catalog, names: Iterable[str]) -> Level:
    """`failure` if it is the level of any of the names; else `warning`."""
    return "failure" if any(level_of(catalog, name) == "failure" for name in names) else "warning"
