"""What the warehouse database says is wrong: its version, what isn't migrated, files, views, missing days.

Nothing of Dagster is known here, and nothing is written.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, find_kind
from mv_pipeline.checks.check import first_of
from mv_pipeline.checks.rules import LAST_UPLOAD, find_check, missing_files_remedy
from mv_pipeline.database.connection import APPLICATION, Database, read_query
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.intake.upload_log import UPLOADS, due_at, missing_days, select_shrunk_days
from mv_pipeline.migrate import roles
from mv_pipeline.migrate.server import ServerFault, find_faults
from mv_pipeline.migrate.state import describe_drift, read_drift
from mv_pipeline.operations.installation import Installation
from mv_pipeline.operations.problem import REJECTED_BURST, HealthProblem, level_of, shown_in
from mv_pipeline.operations.problem import ProblemType as P
from mv_pipeline.refresh.views import describe_unmigrated, read_view_status

_SHOWN_DAYS = 5


def unsupported_servers(of: Installation) -> Iterator[HealthProblem]:
    """What keeps a server or database from being used, or used as it should: version, encoding, settings, pooler."""
    yield from _faults(of, "server", "MV_PIPELINE_DATABASE_URL", find_faults(of.connection, roles.CHANGED))
    dagster = Database(of.settings.resolved_dagster_url())
    # Whether it can be reached is inspected by itself.
    with contextlib.suppress(psycopg.OperationalError), dagster.connect(of.purpose) as connection:
        yield from _faults(of, "Dagster's server", "MV_PIPELINE_DAGSTER_URL", find_faults(connection))


def _faults(of: Installation, server: str, variable: str, faults: list[ServerFault]) -> Iterator[HealthProblem]:
    """The worst, if the server can't be used; else everything."""
    for fault in faults[:1] if faults and faults[0].level == "fatal" else faults:
        subject = server if fault.level == "fatal" else f"{server}: {fault.what}"
        facts: dict[str, Any] = {"server": server, "fault": fault, "variable": variable}
        facts["level"] = "warning" if fault.level == "warning" else "failure"
        yield HealthProblem.of(P.SERVER_UNSUPPORTED, subject, of.settings, of.now, **facts)


def not_migrated(of: Installation) -> Iterator[HealthProblem]:
    """The database, if it has not been migrated to this version."""
    if unmigrated := describe_unmigrated(of.connection):
        yield HealthProblem.of(P.NOT_MIGRATED, "warehouse", of.settings, of.now, unmigrated=unmigrated)


def definition_drift(of: Installation) -> Iterator[HealthProblem]:
    """The views with definition drift, by their hashes."""
    if drift := read_drift(of.connection, of.catalog.relations.values(), hashes_only=True):
        said = describe_drift(drift)
        yield HealthProblem.of(P.DEFINITION_DRIFT, "warehouse", of.settings, of.now, drift=said)


def rejected_files(of: Installation) -> Iterator[HealthProblem]:
    """The rejected files that nobody has dropped again, corrected, and that no later file of the kind followed."""
    kinds = {kind.name: kind for kind in KINDS}
    query = read_query(__file__, "rejected_files").format(uploads=UPLOADS)
    rows = of.connection.cursor(row_factory=dict_row).execute(query, [REJECTED_BURST])
    for row in rows.fetchall():
        kind = kinds.get(row["kind"])
        if kind is None:
            continue
        codes = {code: count for code, count in row["codes"].items() if code in MESSAGES}
        yield HealthProblem.of(
            P.REJECTED_FILE,
            f"{kind.name}/{row['file_name']}",
            of.settings,
            row["uploaded_at"],
            state=row["file_hash"],
            title=kind.title,
            name=row["file_name"],
            kind=kind.name,
            reasons="\n".join(
                [
                    row["reason"],
                    *(f"・{MESSAGES[code][0]}（{count}件）" for code, count in codes.items()),
                    *(f"- {MESSAGES[code][1]} ({count})" for code, count in codes.items()),
                ]
            ),
            # A version that didn't record the report's path may have numbered its name.
            report=of.settings.rejected_dir / (row["report"] or kind.name),
            remedy=find_check(of.catalog, f"raw.{kind.name}", LAST_UPLOAD).remedy,
            dashboards=shown_in(of.catalog, f"stg.{kind.name}"),
        )


def days_shrunk(of: Installation) -> Iterator[HealthProblem]:
    """The days that an upload has left with far less than they had, until that is confirmed or the day replaced."""
    for kind in KINDS:
        query = sql.SQL("SELECT * FROM {} AS shrunk ORDER BY day").format(select_shrunk_days(kind))
        for row in of.connection.cursor(row_factory=dict_row).execute(query):
            yield HealthProblem.of(
                P.DAY_SHRUNK,
                f"{kind.name}/{row['day']}",
                of.settings,
                row["uploaded_at"],
                state=str(row["upload"]),
                title=kind.title,
                kind=kind.name,
                dashboards=shown_in(of.catalog, f"stg.{kind.name}"),
                **row | {"earlier_upload": row["earlier_upload"] or "ID"},
            )


def changed_files(of: Installation) -> Iterator[HealthProblem]:
    """The files that somebody had written on after they were loaded, for a day."""
    query = read_query(__file__, "changed_files").format(uploads=UPLOADS)
    for row in of.connection.cursor(row_factory=dict_row).execute(query).fetchall():
        yield HealthProblem.of(
            P.FILE_CHANGED,
            f"{row['kind']}/{row['file_name']}",
            of.settings,
            row["uploaded_at"],
            state=row["file_hash"],
            title=find_kind(row["kind"]).title,
            dashboards=shown_in(of.catalog, f"stg.{row['kind']}"),
            **row,
        )


def failed_views(of: Installation) -> Iterator[HealthProblem]:
    """The materialized views that could not be refreshed since they last were."""
    for status in read_view_status(of.connection, of.catalog.materialized_views):
        if status.failing_since is None:
            continue
        name = status.relation
        criticality = of.catalog.relations[name].header.criticality
        yield HealthProblem.of(
            P.VIEW_FAILED,
            name,
            of.settings,
            status.failing_since,
            level="failure" if criticality == "critical" else "warning",
            criticality=criticality,
            error=status.error,
            count=status.failures,
            dashboards=shown_in(of.catalog, name),
            page=f"runs/{status.run_id}" if status.run_id else asset_page(name),
        )


def days_without_lines(of: Installation) -> Iterator[HealthProblem]:
    """The lists with business days without a line whose files are due."""
    missing = missing_days(of.connection, now=of.now)
    for csv_list in LISTS:
        days = missing.get(csv_list.csv_type)
        if not days:
            continue
        yield HealthProblem.of(
            P.DATA_MISSING,
            csv_list.csv_type,
            of.settings,
            due_at(days[0]),
            level=level_of(of.catalog, csv_list.source_view),
            title=csv_list.title,
            count=len(days),
            days=first_of(days, _SHOWN_DAYS),
            remedy=missing_files_remedy(csv_list),
            dashboards=shown_in(of.catalog, csv_list.source_view),
            page=asset_page(csv_list.source_view),
        )


def slow_refreshes(of: Installation) -> Iterator[HealthProblem]:
    """The refreshes that have been running for too long."""
    views = [view.name for view in of.catalog.materialized_views]
    params = {"views": views, "application": APPLICATION, "limit": of.settings.slow_refresh_seconds}
    rows = of.connection.execute(read_query(__file__, "slow_refreshes"), params).fetchall()
    for name, pid, since, blockers in rows:
        yield HealthProblem.of(
            P.REFRESH_SLOW,
            name,
            of.settings,
            since,
            level=level_of(of.catalog, name),
            limit=of.settings.slow_refresh_seconds,
            pid=pid,
            waits=f"it waits for the sessions {', '.join(map(str, blockers))}" if blockers else "nothing blocks it",
            dashboards=shown_in(of.catalog, name),
            page=asset_page(name),
        )


def asset_page(name: str) -> str:
    """Where the web UI shows a table or view."""
    return f"assets/{name.replace('.', '/')}"
