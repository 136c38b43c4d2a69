"""`doctor`: what is wrong with this installation, in sentences, each with the way out."""

import math
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import dagster as dg
import psycopg

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import MINIMUM_SERVER_VERSION, Connection, Database
from mv_pipeline.database.dagster_storage import check_dagster_database
from mv_pipeline.definitions import defs
from mv_pipeline.defs.assets.describe import RETENTION, RETENTION_CHECK, asset_key
from mv_pipeline.intake.inbox import scan
from mv_pipeline.migrate.state import describe_drift
from mv_pipeline.operations.daemon_health import heartbeat_ages, switched_off
from mv_pipeline.operations.dagster_private import newest_check_results
from mv_pipeline.operations.problem import DAEMON_SILENT_S, LOW_DISK_BYTES
from mv_pipeline.operations.status import read_status
from mv_pipeline.settings import TIME_ZONE, Settings

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Diagnosis:
    """One sentence about the installation."""

    level: Level
    sentence: str


def examine(settings: Settings, catalog: Catalog) -> list[Diagnosis]:
    """IncidentUpdate at disk, inbox, database, views, and at Dagster's storage, daemon, sensors and schedules."""
    found = [_disk(settings), *_inbox(settings)]
    try:
        with Database().connect("doctor") as connection:
            found += _database(connection, catalog)
    except psycopg.OperationalError as error:
        found.append(Diagnosis("error", f"The database can't be reached: {str(error).strip()}"))
    try:
        check_dagster_database(settings)
    except psycopg.OperationalError as error:
        found.append(Diagnosis("error", f"Dagster's storage can't be reached: {str(error).strip()}"))
    else:
        found += _dagster()
    return found


def _disk(settings: Settings) -> Diagnosis:
    free = shutil.disk_usage(settings.home).free
    if free < LOW_DISK_BYTES:
        return Diagnosis("error", f"Only {free / 1e6:,.0f} MB are free at {settings.home}; free some space.")
    return Diagnosis("ok", f"{free / 1e9:,.0f} GB are free at {settings.home}.")


def _inbox(settings: Settings) -> list[Diagnosis]:
    try:
        waiting = scan(settings.inbox_dir)
    except OSError as error:
        return [Diagnosis("error", f"The inbox {settings.inbox_dir} can't be read: {error.strerror}.")]
    found = [Diagnosis("ok", f"The inbox is {settings.inbox_dir}; {len(waiting.files)} files wait in it.")]
    for name, reason in waiting.left_alone.items():
        found.append(Diagnosis("warning", f"{name} in the inbox is left alone ({reason}); move it to its place."))
    return found


def _database(connection: Connection, catalog: Catalog) -> list[Diagnosis]:
    version = connection.info.server_version
    if version < MINIMUM_SERVER_VERSION:
        return [Diagnosis("error", f"The server is PostgreSQL {version // 10000}; 16 or later is needed.")]
    found = [Diagnosis("ok", f"The database is PostgreSQL {version // 10000}.{version % 10000}.")]
    if connection.execute("SELECT to_regclass('log.relation')").fetchone() == (None,):
        return [*found, Diagnosis("error", "The database is empty. Run `mv-pipeline migrate`.")]
    drift = describe_drift(connection, catalog)
    if drift:
        return [*found, Diagnosis("error", f"{drift} Run `mv-pipeline migrate`.")]
    for status in read_status(connection, catalog):
        found += [Diagnosis("error", f"{status.name}, {name}: {text}") for name, text in status.checks_failed.items()]
    found += _rejected(connection)
    return found


def _rejected(connection: Connection) -> list[Diagnosis]:
    rows = connection.execute(
        "SELECT DISTINCT ON (file_type, csv_type) file_name, processing_status, error_message FROM log.upload_file "
        "ORDER BY file_type, csv_type, id DESC"
    ).fetchall()
    return [
        Diagnosis("warning", f"The newest upload of its kind was rejected: {name}. {message}")
        for name, status, message in rows
        if status == "failed"
    ]


def _dagster() -> list[Diagnosis]:
    with dg.DagsterInstance.get() as instance:
        return [_daemon(instance), *_switched_off(instance), *_housekeeping(instance)]


def _daemon(instance: dg.DagsterInstance) -> Diagnosis:
    ages = heartbeat_ages(instance, datetime.now(TIME_ZONE))
    silent = {name: age for name, age in ages.items() if age > DAEMON_SILENT_S}
    # Of parts that are silent the newest sign counts, as it does for the alert; of a daemon that is alive the oldest.
    age = min(silent.values()) if silent else max(ages.values())
    said = "It has never given a sign of life." if math.isinf(age) else f"Its last sign of life is {age:,.0f} s old."
    if not silent:
        return Diagnosis("ok", f"The daemon is alive. {said}")
    if len(silent) < len(ages):
        return Diagnosis("warning", f"Parts of the daemon don't run: {', '.join(silent)}. {said} Restart the daemon.")
    return Diagnosis(
        "warning", f"The daemon doesn't run: no file is taken and no night is done. {said} Start `mv-pipeline dev`."
    )


def _housekeeping(instance: dg.DagsterInstance) -> list[Diagnosis]:
    """What the last night's housekeeping said; nothing before the first one."""
    key = dg.AssetCheckKey(asset_key(RETENTION), RETENTION_CHECK)
    return [
        Diagnosis(
            "ok" if result.passed else "warning",
            f"Housekeeping, {datetime.fromtimestamp(event.timestamp, TIME_ZONE):%Y-%m-%d}: {result.description}",
        )
        for result, event in newest_check_results(instance, [key])
    ]


def _switched_off(instance: dg.DagsterInstance) -> list[Diagnosis]:
    off = switched_off(instance, defs().get_repository_def())
    return [
        Diagnosis(
            "error",
            f"The {name} is switched off, so this isn't done: {undone} Switch it on in the UI, under Automation.",
        )
        for name, undone in off.items()
    ] or [Diagnosis("ok", "No sensor and no schedule is switched off.")]
