"""One thing that is wrong now, from when on it is one, and what is said of it; the texts are in problems.yaml.

Finding problems is the business of `health` and of what it calls; remembering them is that of `incidents`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.checks.check import first_of
from mv_pipeline.settings import TIME_ZONE, Settings

Level = Literal["failure", "warning"]
Audience = Literal["operator", "office"]
_SHOWN = 8


class ProblemType(StrEnum):
    """What can be wrong."""

    LOW_DISK = "low_disk"
    INBOX_UNREADABLE = "inbox_unreadable"
    FILE_LEFT_ALONE = "file_left_alone"
    DATABASE_UNREACHABLE = "database_unreachable"
    SERVER_UNSUPPORTED = "server_unsupported"
    NOT_MIGRATED = "not_migrated"
    DEFINITION_DRIFT = "definition_drift"
    REJECTED_FILE = "rejected_file"
    DAY_SHRUNK = "day_shrunk"
    FILE_CHANGED = "file_changed"
    VIEW_FAILED = "view_failed"
    DATA_MISSING = "data_missing"
    REFRESH_SLOW = "refresh_slow"
    CHECK_FAILED = "check_failed"
    RUN_FAILED = "run_failed"
    DAEMON_GONE = "daemon_gone"
    FILES_WAITING = "files_waiting"
    SWITCHED_OFF = "switched_off"
    TICK_FAILED = "tick_failed"
    TICKS_STOPPED = "ticks_stopped"
    RETENTION_INCOMPLETE = "retention_incomplete"


# When something counts as wrong: the thresholds that no setting names. Prometheus' rules are tested against them.
# Heartbeats come every 30 s; a tick that watches the inbox, or a run's start, may hold one up for as long again.
DAEMON_SILENT_S = 180.0
# Sensors tick every few seconds, and none of them takes minutes.
SENSOR_LATE_S = 300.0
# A run takes seconds; a wait for a lock is tried again for two minutes.
FILE_WAITS_S = 300.0
SCHEDULE_LATE = timedelta(minutes=10)
LOW_DISK_GB = 1.0
# Files that came together with a rejected one aren't its correction.
REJECTED_BURST = timedelta(minutes=10)
# A problem that is gone for less than this and comes back is the same incident.
COOLDOWN = timedelta(minutes=2)
# Whoever has put a file in the wrong place may see it; after an outage the first inspection may come before the first
# tick, a single tick may fail, the sensors start a failed run's successor by themselves, and a server may be restarted:
# these have to last before anybody is told.
GRACE: dict[str, timedelta] = {
    ProblemType.FILE_LEFT_ALONE: timedelta(minutes=10),
    ProblemType.SWITCHED_OFF: timedelta(minutes=1),
    ProblemType.TICK_FAILED: timedelta(minutes=1),
    ProblemType.TICKS_STOPPED: timedelta(minutes=1),
    ProblemType.RUN_FAILED: timedelta(minutes=1),
    ProblemType.DATABASE_UNREACHABLE: timedelta(seconds=45),
}


class ProblemTexts(BaseModel):
    """What is said of a type of problem, and to whom; problems.yaml says with which placeholders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    happened: str = ""
    means: str
    todo: str
    link: str = ""
    ok: str
    level: Level = "failure"
    audience: Audience = "operator"


TEXTS = TypeAdapter(dict[ProblemType, ProblemTexts]).validate_python(
    yaml.safe_load(Path(__file__).with_name("problems.yaml").read_text(encoding="utf-8"))
)


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
        link: the page that shows it.
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

    @classmethod
    def of(
        cls,
        problem_type: ProblemType,
        subject: str,
        settings: Settings,
        since: datetime,
        *,
        level: Level | None = None,
        state: str = "",
        **facts: object,
    ) -> "HealthProblem":
        """The problem with the texts of its type.

        Args:
            problem_type: as `type`.
            subject: as above.
            settings: where the web UI is.
            since: as above.
            level: None: that of the type.
            state: as above.
            facts: for the placeholders.
        """
        texts = TEXTS[problem_type]

        def say(text: str) -> str:
            return text.format(subject=subject, **facts)

        return cls(
            type=problem_type,
            subject=subject,
            level=level or texts.level,
            title=say(texts.title),
            happened=say(texts.happened),
            since=since,
            means=say(texts.means),
            todo=say(texts.todo),
            link=f"{settings.resolved_ui_url()}/{say(texts.link)}".rstrip("/"),
            audience=texts.audience,
            state=state,
        )

    @property
    def sentence(self) -> str:
        """What has happened and what to do, in one line."""
        parts = (self.title, self.happened, self.todo[0].upper() + self.todo[1:])
        return " ".join(f"{' '.join(part.split()).rstrip('.')}." for part in parts if part)

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
    "operator": ("Since", "What it means", "What to do", "Page"),
    "office": ("発生 Since", "影響 What it means", "対応 What to do", "画面 Page"),
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
    return first_of(dashboards or views, _SHOWN) or "no dashboard and no view"


def every_dashboard(catalog: Catalog) -> str:
    """Where people see what comes from files."""
    return shown_in(catalog, *(f"stg.{kind.name}" for kind in KINDS))


def _loaded(name: str) -> str:
    """The table that views read: what comes into raw reaches them through stg."""
    return name.replace("raw.", "stg.", 1) if name.startswith("raw.") else name


def level_of(catalog: Catalog, name: str) -> Level:
    """`failure` if a critical view is, or reads, the relation or table of that name; else `warning`."""
    names = (name, *catalog.downstream(_loaded(name)))
    touched = [catalog.relations[other] for other in names if other in catalog.relations]
    return "failure" if any(relation.header.criticality == "critical" for relation in touched) else "warning"


def highest_level(catalog: Catalog, names: Iterable[str]) -> Level:
    """`failure` if it is the level of any of the names; else `warning`."""
    return "failure" if any(level_of(catalog, name) == "failure" for name in names) else "warning"
