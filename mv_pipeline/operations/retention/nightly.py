"""One night's housekeeping: the settings' days applied to everything that has any."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg
import psycopg
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from mv_pipeline.database.connection import Database
from mv_pipeline.operations.retention.folders import delete_files
from mv_pipeline.operations.retention.history import delete_runs
from mv_pipeline.operations.retention.limits import Deleted, Limits
from mv_pipeline.operations.retention.log_rows import delete_rows
from mv_pipeline.settings import Settings

_REFUSED = (psycopg.Error, OSError, SQLAlchemyError, DagsterPostgresException)


@dataclass(frozen=True)
class Night:
    """What a night deleted.

    Args:
        deleted: by the name of a folder, a table of the log, or `runs`; what is kept for ever isn't in it.
        failed: why something could not be done, by name.
    """

    deleted: dict[str, Deleted] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> list[str]:
        """The names of what has more than one night may delete."""
        return [name for name, deleted in self.deleted.items() if deleted.more]

    def __str__(self) -> str:
        """One line: what was found and expected, and what to do if they differ."""
        counts = ", ".join(f"{name} {deleted.count}" for name, deleted in self.deleted.items())
        text = f"Deleted: {counts or 'nothing, since all is kept for ever'}. "
        if self.failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            return f"{text}{len(self.failed)} parts failed, none expected: {reasons}. The next night tries again."
        if self.left:
            return f"{text}Still too old, none expected: {', '.join(self.left)}. The next nights go on."
        return f"{text}Nothing that is too old is left."


def keep_house(
    settings: Settings, database: Database, instance: dg.DagsterInstance, now: datetime, limits: Limits
) -> Night:
    """Delete what is older than its setting says; a part that fails keeps none of the others from being done.

    Args:
        settings: days and folders.
        database: the plant's.
        instance: Dagster's.
        now: aware.
        limits: of this night.
    """
    night = Night()

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    def archive() -> dict[str, Deleted]:
        return {"archive": delete_files(settings.archive_dir, before(settings.archive_days).timestamp(), limits)}

    def rejected() -> dict[str, Deleted]:
        return {"rejected": delete_files(settings.rejected_dir, before(settings.rejected_days).timestamp(), limits)}

    def log() -> dict[str, Deleted]:
        with database.connect("housekeeping") as connection:
            return delete_rows(connection, before(settings.log_days), limits)

    def runs() -> dict[str, Deleted]:
        return {"runs": delete_runs(instance, before(settings.history_days), limits)}

    parts: dict[str, tuple[int, Callable[[], dict[str, Deleted]]]] = {
        "archive": (settings.archive_days, archive),
        "rejected": (settings.rejected_days, rejected),
        "log": (settings.log_days, log),
        "runs": (settings.history_days, runs),
    }
    for name, (days, delete) in parts.items():
        if days:
            try:
                night.deleted.update(delete())
            except _REFUSED as error:
                night.failed[name] = str(error).strip()
    return night
