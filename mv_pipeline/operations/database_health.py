"""What the warehouse database says is wrong: rejected files, failing views, missing days, slow refreshes.

Nothing of Dagster is known here, and nothing is written.
"""

from datetime import datetime, time, timedelta

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, FileKind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database.connection import APPLICATION, Connection
from mv_pipeline.intake.rejection import MESSAGES, Code
from mv_pipeline.intake.upload_log import missing_days
from mv_pipeline.operations.problem import REJECTED_BURST, HealthProblem, ProblemType, level_of, shown_in
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import TIME_ZONE, Settings

INSPECTED = frozenset(
    {ProblemType.REJECTED_FILE, ProblemType.VIEW_FAILED, ProblemType.DATA_MISSING, ProblemType.REFRESH_SLOW}
)
_NAME_BYTES = 63
_SHOWN_DAYS = 5


def inspect_warehouse(
    connection: Connection, catalog: Catalog, settings: Settings, now: datetime
) -> list[HealthProblem]:
    """Everything of `INSPECTED` that is wrong.

    Args:
        connection: to the warehouse database.
        catalog: the relations.
        settings: folders, limits and links.
        now: aware.
    """
    return [
        *rejected_files(connection, catalog, settings),
        *failed_views(connection, catalog, settings),
        *lists_without_lines(connection, catalog, settings, now),
        *slow_refreshes(connection, catalog, settings),
    ]


def rejected_files(connection: Connection, catalog: Catalog, settings: Settings) -> list[HealthProblem]:
    """The rejected files that nobody has dropped again, corrected, and that no later file of the kind followed."""
    kinds = {(kind.version.upper(), kind.list.csv_type): kind for kind in KINDS}
    rows = connection.execute(
        "WITH good AS (SELECT file_type, csv_type, max(uploaded_at) AS last FROM log.upload_file "
        "WHERE processing_status = 'success' GROUP BY file_type, csv_type), "
        "newest AS (SELECT DISTINCT ON (file_type, csv_type, file_name) * FROM log.upload_file WHERE NOT is_deleted "
        "ORDER BY file_type, csv_type, file_name, id DESC) "
        "SELECT file_type, csv_type, file_name, file_hash, uploaded_at, coalesce(error_message, ''), "
        "coalesce(metadata->'codes', '{}'), metadata->>'report' FROM newest "
        "LEFT JOIN good USING (file_type, csv_type) "
        "WHERE processing_status = 'failed' AND coalesce(last, '-infinity') <= uploaded_at + %s ORDER BY id",
        [REJECTED_BURST],
    ).fetchall()
    return [
        _rejected_file(catalog, settings, kinds[version, csv_type], *row)
        for version, csv_type, *row in rows
        if (version, csv_type) in kinds
    ]


def _rejected_file(
    catalog: Catalog,
    settings: Settings,
    kind: FileKind,
    name: str,
    content: str,
    at: datetime,
    reason: str,
    codes: dict[str, int],
    report: str | None,
) -> HealthProblem:
    known = {Code(code): count for code, count in codes.items() if code in set(Code)}
    japanese = [f"・{MESSAGES[code][0]}（{count}件）" for code, count in known.items()]
    english = [f"- {MESSAGES[code][1]} ({count})" for code, count in known.items()]
    return HealthProblem(
        type=ProblemType.REJECTED_FILE,
        subject=f"{kind.name}/{name}",
        state=content,
        level="failure",
        audience="office",
        title=f"{kind.title}のファイル「{name}」を取り込めませんでした Rejected file: {kind.name}/{name}",
        happened="\n".join([reason, *japanese, *english]),
        since=at,
        means="このファイルの行は1行も取り込まれていません。ダッシュボードの数字は前のままです。 "
        f"No line of it was loaded; it isn't shown in: {shown_in(catalog, f'stg.{kind.name}')}",
        todo=f"エラー一覧 {settings.rejected_dir / (report or f'{kind.name}/{name}.errors.csv')} を見てファイルを直し、"
        f"inbox/{kind.name}/ に置き直してください。 Correct what that report lists, and drop the file again.",
        link=f"{settings.resolved_ui_url()}/assets/raw/{kind.name}",
    )


def failed_views(connection: Connection, catalog: Catalog, settings: Settings) -> list[HealthProblem]:
    """The materialized views that could not be refreshed since they last were."""
    return [
        HealthProblem(
            type=ProblemType.VIEW_FAILED,
            subject=status.relation,
            level="failure" if catalog.relations[status.relation].header.criticality == "critical" else "warning",
            title=f"{status.relation} ({catalog.relations[status.relation].header.criticality}) can't be refreshed",
            happened=f"{status.error} ({status.failures} times)",
            since=status.failing_since,
            means=f"Older rows are shown in: {shown_in(catalog, status.relation)}",
            todo=f"fix what the error says, then run `mv-pipeline refresh {status.relation}`",
            link=_run_or_asset(settings, status.run_id, status.relation),
        )
        for status in read_view_status(connection, catalog.materialized_views)
        if status.failing_since
    ]


def lists_without_lines(
    connection: Connection, catalog: Catalog, settings: Settings, now: datetime
) -> list[HealthProblem]:
    """The lists with business days without a line whose files are due."""
    missing = missing_days(connection, now=now)
    found = []
    for csv_list in LISTS:
        rollup = ROLLUPS[csv_list.csv_type].name
        days = missing.get(csv_list.csv_type)
        if not days:
            continue
        shown = ", ".join(map(str, days[:_SHOWN_DAYS])) + (" …" if len(days) > _SHOWN_DAYS else "")
        found.append(
            HealthProblem(
                type=ProblemType.DATA_MISSING,
                subject=csv_list.csv_type,
                level=level_of(catalog, rollup),
                audience="office",
                title=f"{csv_list.title}のデータがありません（{len(days)}営業日） "
                f"No {csv_list.csv_type} lines for {len(days)} business days",
                happened=f"データのない営業日 missing: {shown}",
                since=datetime.combine(days[0] + timedelta(days=1), time(), TIME_ZONE)
                + timedelta(hours=settings.files_due_hour),
                means=f"次の表示は古いままです。 These are older than they should be: {shown_in(catalog, rollup)}",
                todo=f"将軍から{csv_list.title}のCSVを出力し、inbox/shogun_flash_{csv_list.csv_type}/ または "
                f"inbox/shogun_final_{csv_list.csv_type}/ に置いてください。"
                f" Export these days and drop the file; `mv-pipeline doctor` says what waits.",
                link=f"{settings.resolved_ui_url()}/assets/{rollup.replace('.', '/')}",
            )
        )
    return found


def slow_refreshes(connection: Connection, catalog: Catalog, settings: Settings) -> list[HealthProblem]:
    """The refreshes that have been running for too long."""
    # The server cuts what a connection calls itself.
    views = {_cut(f"{APPLICATION} refresh {view.name}"): view.name for view in catalog.materialized_views}
    rows = connection.execute(
        "SELECT application_name, pid, xact_start, pg_blocking_pids(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = ANY (%s) "
        "AND xact_start < clock_timestamp() - make_interval(secs => %s) ORDER BY xact_start",
        [list(views), settings.slow_refresh_seconds],
    ).fetchall()
    found = []
    for application, pid, since, blockers in rows:
        name = views[application]
        waits = f"it waits for the sessions {', '.join(map(str, blockers))}" if blockers else "nothing blocks it"
        found.append(
            HealthProblem(
                type=ProblemType.REFRESH_SLOW,
                subject=name,
                level=level_of(catalog, name),
                title=f"The refresh of {name} has been running for over {settings.slow_refresh_seconds:g} s",
                happened=f"Session {pid}; {waits}",
                since=since,
                means=f"The rows from before are still shown in: {shown_in(catalog, name)}",
                todo=f"""`psql "$(mv-pipeline url)" -c 'SELECT pg_cancel_backend({pid})'` stops it; """
                f"`mv-pipeline refresh {name}` starts it again",
                link=_run_or_asset(settings, None, name),
            )
        )
    return found


def _cut(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _run_or_asset(settings: Settings, run_id: str | None, name: str) -> str:
    page = f"runs/{run_id}" if run_id else f"assets/{name.replace('.', '/')}"
    return f"{settings.resolved_ui_url()}/{page}"
