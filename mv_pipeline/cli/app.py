"""The commands, their options and their exit codes: 0 means that all is well.

Data goes to stdout, progress and errors to stderr. An error is one line with the way out.
"""

import contextlib
import importlib.metadata
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from rich.table import Table
from rich.text import Text

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList, FileKind, find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.sql_folder import lint
from mv_pipeline.catalog.template import NewKind, write_template
from mv_pipeline.cli.services import Service, check_migrated, reserved, serve
from mv_pipeline.cli.session import (
    CommandError,
    answer,
    console,
    errors,
    migrated_session,
    new_table,
    read_catalog,
    session,
)
from mv_pipeline.cli.uploads import calendar_records, ingest_record, missing_sentences
from mv_pipeline.cli.variables import read_origins
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.intake.upload_log import read_calendar
from mv_pipeline.migrate.diff import diff
from mv_pipeline.migrate.roles import PIPELINE, may_migrate
from mv_pipeline.operations import logging
from mv_pipeline.operations.status import ViewReport, read_status
from mv_pipeline.operations.uploads import confirm_upload, read_uploads, restore_upload
from mv_pipeline.settings import HOST, TIME_ZONE, OperatorError, Settings, load_settings

if TYPE_CHECKING:
    from mv_pipeline.migrate.migrate import Migration
    from mv_pipeline.operations.installation import Installation

# Commands import Dagster and Alembic when they run: each takes a second.

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
uploads_app = typer.Typer()
app.add_typer(uploads_app, name="uploads")


def _list_names() -> list[str]:
    return [csv_list.csv_type for csv_list in LISTS]


def _find_list(csv_type: str) -> CsvList:
    for csv_list in LISTS:
        if csv_list.csv_type == csv_type:
            return csv_list
    raise CommandError(f"There is no list “{csv_type}”. The lists are: {', '.join(_list_names())}.")


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mv-pipeline {importlib.metadata.version('mv-pipeline')}\n")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_LIST = typer.Option(
    "--csv-type",
    parser=_find_list,
    metavar="<str>",
    help=f"What comes from this list: {', '.join(_list_names())}.",
    autocompletion=_list_names,
)
_RELATION = typer.Argument(
    help="A view, as in mart.mv_receive_daily.",
    autocompletion=lambda: list(read_catalog(load_settings()).relations),
)
_VIEWS = typer.Argument(
    help="Views, as in mart.mv_receive_daily.",
    autocompletion=lambda: [view.name for view in read_catalog(load_settings()).materialized_views],
)
_UPLOAD = typer.Argument(help="Its number, as `mv-pipeline uploads` shows it.", metavar="ID")
_KIND = typer.Option(
    parser=find_kind,
    metavar="<str>",
    help="The CSV kind, as in shogun_flash_receive.",
    autocompletion=lambda: [kind.name for kind in KINDS],
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Keep the warehouse's materialized views fresh."""
    sys.excepthook = sys.__excepthook__ if debug else _print_error
    read_origins()


@app.command("migrate")
def migrate_command(
    with_roles: Annotated[
        bool, typer.Option("--roles", help="Create the roles owner, pipeline and reader, and hand everything over.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be done, why and with which locks; change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create or update everything in the database; running it again changes nothing."""
    from mv_pipeline.cli.migrate import print_migration, print_plan

    with session() as settings:
        catalog = read_catalog(settings)
        if plan:
            print_plan(settings, catalog, as_json, with_roles=with_roles)
        else:
            print_migration(_migrate(settings, catalog, with_roles=with_roles), as_json)


@app.command("diff")
def diff_command(
    name: Annotated[str, _RELATION],
    rows: Annotated[int, typer.Option(help="How many changing rows to show.", min=1)] = 10,
    as_json: Json = False,
) -> None:
    """Show what a changed SQL file would change: definition, columns, and a sample of rows."""
    from mv_pipeline.cli.migrate import describe_diff

    with migrated_session() as catalog:
        found = diff(Database(), catalog, name, rows)
    answer(found, as_json, *describe_diff(name, found))


@app.command("ingest")
def ingest_command(
    kind: Annotated[FileKind, _KIND],
    files: Annotated[list[Path], typer.Argument(help="CSV files; they stay where they are.")],
    as_json: Json = False,
) -> None:
    """Load CSV files and refresh what is downstream. Exit code 1 if a file was rejected or the run failed."""
    from mv_pipeline.cli.runs import ingest_files, require_success

    with migrated_session() as catalog:
        uploads, result = ingest_files(catalog, [(kind.name, path) for path in files], "command line")
    records = list(map(ingest_record, uploads))
    answer(records, as_json, new_table("Uploads", records))
    if len(uploads) < len(files):
        raise CommandError(
            f"{len(files) - len(uploads)} files wait in the inbox; run {result.run_id} in the UI says why."
        )
    require_success(result)
    if any(upload.state == "rejected" for upload in uploads):
        raise typer.Exit(1)


@app.command("refresh")
def refresh_command(
    names: Annotated[list[str] | None, _VIEWS] = None,
    every: Annotated[bool, typer.Option("--all", help="Every materialized view.")] = False,
    csv_list: Annotated[CsvList | None, _LIST] = None,
    full: Annotated[bool, typer.Option(help="Recompute the rollups from the staging lines first.")] = False,
    as_json: Json = False,
) -> None:
    """Refresh materialized views, in the graph's order, after rolling up what changed upstream of them."""
    everything = every or (full and not names and not csv_list)
    if [bool(names), everything, bool(csv_list)].count(True) != 1:
        raise CommandError("Say what to refresh: names, --all, --csv-type, or --full for all from the staging lines.")
    from mv_pipeline.cli.runs import refresh_views

    with migrated_session() as catalog:
        run_id, refreshed = refresh_views(catalog, names or [], csv_list, full)
    told = f"Done: {len(refreshed)} views refreshed by run {run_id}."
    answer({"run_id": run_id, "refreshed": refreshed}, as_json, told)


@app.command("backfill")
def backfill_command(
    kind: Annotated[FileKind, _KIND],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included.")],
    as_json: Json = False,
) -> None:
    """Re-derive days of a kind from raw, and refresh what is downstream."""
    if last < first:
        raise CommandError("--to is before --from.")
    from mv_pipeline.cli.runs import backfill

    with migrated_session() as catalog:
        totals = [backfill(catalog, kind, first.date(), last.date())]
    answer(totals, as_json, new_table("Backfill", totals))


@app.command("status")
def status_command(as_json: Json = False) -> None:
    """Show each rollup and materialized view and run its checks. Exit code 1 if one fails."""
    with migrated_session() as catalog, Database().connect("status") as connection:
        statuses = read_status(connection, catalog)
    problems = [f"{s.name}, {check}: {message}" for s in statuses for check, message in s.checks_failed.items()]
    answer(statuses, as_json, _status_table(statuses), problems=problems)


@app.command("lint")
def lint_command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Only these SQL files' violations; without files, all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the violations in the SQL files, one a line. Exit code 1 if there are any; no database is needed."""
    sql_dir, here = load_settings().sql_dir, Path.cwd()
    wanted = [path.resolve() for path in files or []]
    for path in wanted:
        if not path.is_file() or not path.is_relative_to(sql_dir.resolve()):
            raise CommandError(f"{path} is no file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
    found = [v for v in lint(sql_dir, picture_names()) if not wanted or v.path.resolve() in wanted]
    # So that an editor finds it.
    found = [replace(v, path=v.path.relative_to(here)) if v.path.is_relative_to(here) else v for v in found]
    data = [{"file": v.path, "line": v.line, "rule": v.rule, "wrong": v.message, "instead": v.fix} for v in found]
    answer(data, as_json, *(map(str, found) if found else ["Nothing is wrong with the SQL files."]), failed=bool(found))


@app.command("new")
def new_command(
    kind: Annotated[NewKind, typer.Argument(help="A materialized view, a plain one, or a rollup: rows stored by day.")],
    name: Annotated[str, typer.Argument(help="Schema and name, as in mart.mv_receive_by_item.")],
) -> None:
    """Write a template SQL file for a new view; it is valid as it is."""
    path = write_template(load_settings().sql_dir, kind, name)
    console.print(f"{path}\nEdit it, then `mv-pipeline lint` and `mv-pipeline migrate`.")


@app.command("proof")
def proof_command(
    repair: Annotated[bool, typer.Option("--repair", help="Recompute what differs; else nothing is changed.")] = False,
    as_json: Json = False,
) -> None:
    """Compare rollups and views with a full recompute from the lines, as nightly. Exit code 1 if one differed."""
    from mv_pipeline.cli.runs import prove

    with migrated_session() as catalog:
        found = prove(catalog, repair=repair)
    records = [
        {"name": name, "rows": proof.before.rows, "days": proof.before.days, "rows_after": proof.after.rows}
        for name, proof in found.items()
    ]
    problems = [f"{name}: {p.result(repaired=repair).text}" for name, p in found.items() if not p.result().passed]
    answer(records, as_json, new_table("Rows that differ from a full recompute", records), problems=problems)


@uploads_app.callback(invoke_without_command=True)
def uploads_command(
    context: typer.Context,
    kind: Annotated[FileKind | None, _KIND] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only those that were rejected.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest files: what became of each, and why one was rejected; or decide about one."""
    if context.invoked_subcommand:
        return
    with migrated_session(), Database().connect("uploads") as connection:
        records = list(map(asdict, read_uploads(connection, limit, kind, rejected=rejected)))
    answer(records, as_json, new_table("Uploads, newest first (times in Asia/Tokyo)", records))


@uploads_app.command("restore")
def restore_command(
    upload: Annotated[int, _UPLOAD],
    days: Annotated[list[datetime] | None, typer.Option("--day", formats=["%Y-%m-%d"], help="Only this day.")] = None,
    as_json: Json = False,
) -> None:
    """Let the lines of an earlier upload count again on its days, and refresh what is downstream."""
    from mv_pipeline.cli.runs import refresh_views

    with migrated_session() as catalog:
        with Database().connect("restore") as connection:
            restored = restore_upload(connection, upload, [day.date() for day in days or []])
        refresh_views(catalog, [], find_kind(restored.kind).list, full=False)
    answer(restored, as_json, new_table("Restored", [asdict(restored)]))


@uploads_app.command("confirm")
def confirm_command(upload: Annotated[int, _UPLOAD], as_json: Json = False) -> None:
    """Say that the days that an upload has left with far less than before are right so."""
    with migrated_session(), Database().connect("confirm") as connection:
        days = confirm_upload(connection, upload)
    answer({"upload_file_id": upload, "days": days}, as_json, f"Confirmed: {', '.join(days)}.")


@app.command("calendar")
def calendar_command(
    month: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m"], help="As in 2025-12; without it, the business date's month.")
    ] = None,
    csv_list: Annotated[CsvList | None, _LIST] = None,
    as_json: Json = False,
) -> None:
    """Show per day and kind which upload counts, its lines and kg, and which business days have no file."""
    lists = [csv_list] if csv_list else LISTS
    with migrated_session(), Database().connect("calendar") as connection:
        first = (month.date() if month else scalar(connection, "SELECT ref.business_date()")).replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        days = [day for day in read_calendar(connection, first, last) if find_kind(day.kind).list in lists]
    tables = [new_table(f"{each.csv_type} {each.title}", calendar_records(days, each)) for each in lists]
    answer(days, as_json, *tables, *missing_sentences(days, lists))


@app.command("url")
def url_command(as_json: Json = False) -> None:
    """Print the database's URL, for psql and dashboards. The embedded server only answers while something holds it."""
    url = load_settings().resolved_database_url()
    answer({"url": url}, as_json, url)


@app.command("dev")
def dev_command() -> None:
    """Start the server, migrate, and run web UI, sensor and schedule until Ctrl-C."""
    services = [Service.WEB, Service.DAEMON]
    with reserved(load_settings(), services) as keep_open, session() as settings:
        catalog = read_catalog(settings)
        with Database().connect("dev") as connection:
            if may_migrate(connection):
                _migrate(settings, catalog)
            else:
                check_migrated(connection, catalog)
        console.print(f"UI:    http://{HOST}:{settings.port}\nInbox: {settings.inbox_dir}\nCtrl-C stops all.")
        serve(settings, services, keep_open)


@app.command("serve")
def serve_command(service: Annotated[Service, typer.Argument(help="What to run.")]) -> None:
    """Run the daemon, the web UI, the read-only web UI or the metrics alone, for a service manager; never migrate."""
    with reserved(load_settings(), [service]) as keep_open, migrated_session():
        serve(load_settings(), [service], keep_open)


@app.command("metrics")
def metrics_command() -> None:
    """Serve Prometheus metrics on 127.0.0.1 until Ctrl-C; the same as `serve metrics`."""
    serve_command(Service.METRICS)


@app.command("demo")
def demo_command(as_json: Json = False) -> None:
    """Fill the embedded database with made-up data through the real path and show every view."""
    from mv_pipeline.cli.demo import run_demo

    with session() as settings:
        catalog = read_catalog(settings)
        _migrate(settings, catalog)
        uploads = run_demo(settings, catalog)
        with Database().connect("demo") as connection:
            statuses = read_status(connection, catalog)
    counts = Counter(upload.state for upload in uploads)
    answer(
        {"uploads": list(map(ingest_record, uploads)), "views": statuses},
        as_json,
        f"{len(uploads)} files: {counts['loaded']} loaded ({sum(upload.lines for upload in uploads):,} lines), "
        f"{counts['duplicate']} known already, {counts['rejected']} rejected.",
        _status_table(statuses),
        f"Next: `make dev`, then open http://{HOST}:{settings.port} and drop a CSV file into "
        f"{settings.inbox_dir}/<kind>/.",
        failed=counts["rejected"] > 0 or any(status.checks_failed for status in statuses),
    )


@app.command("doctor")
def doctor_command(as_json: Json = False) -> None:
    """Say what is wrong with this installation. Exit code 1 if something is."""
    from mv_pipeline.cli.doctor import examine

    # Before they are handed on to Dagster in the environment.
    origins = read_origins()
    with _installation("doctor") as installation:
        found = examine(installation, origins)
    styles = {"ok": "green", "warning": "yellow", "error": "red"}
    lines = [Text.assemble((each.level, styles[each.level]), f": {each.sentence}") for each in found]
    answer(found, as_json, *lines, failed=any(each.level == "error" for each in found))


@app.command("watch")
def watch_command(as_json: Json = False) -> None:
    """Check the health once, from outside the daemon, and notify who is to know. Exit code 1 if there is any."""
    from mv_pipeline.operations.alerts import report

    with _installation("watch") as installation:
        update = report(installation)
    data = [{"title": i.title, "message": i.message, "since": i.opened_at.isoformat()} for i in update.open]
    answer(data, as_json, str(update), failed=bool(update.open or update.failed))


@contextlib.contextmanager
def _installation(purpose: str) -> Iterator["Installation"]:
    from mv_pipeline.definitions import defs
    from mv_pipeline.operations.installation import Installation

    with session() as settings:
        catalog, repository = read_catalog(settings), defs().get_repository_def()
        with Installation(settings, catalog, repository, purpose, datetime.now(TIME_ZONE)) as installation:
            yield installation


def main() -> None:
    """Run the command line; an error is told in one line."""
    app()


def _print_error(error_type: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:  # noqa: ARG001  # the signature is the system's
    """Say an error in a line for each problem: what the user can fix as it is, anything else as a fault of ours."""
    problems = error.problems if isinstance(error, OperatorError) else ()
    message = " ".join(str(error).removesuffix("\n".join(problems)).split())
    message = "\n".join([message, *problems])
    if not isinstance(error, OperatorError | psycopg.OperationalError | psycopg.errors.InsufficientPrivilege):
        message = f"unexpected {error_type.__name__}: {message} (mv-pipeline --debug … shows where; please report it)"
    if logging.in_json():
        logging.logger.critical(message)
    else:
        errors.print(f"mv-pipeline: {message}", style="red")


def _migrate(settings: Settings, catalog: Catalog, *, with_roles: bool = False) -> "Migration":
    from mv_pipeline.migrate.dagster_database import ensure_dagster_database, hand_over_dagster_database
    from mv_pipeline.migrate.migrate import migrate

    ensure_dagster_database(settings, create=False)
    with errors.status("Migrating …") as status:
        result = migrate(Database(), catalog, lambda step: status.update(f"Migrating: {step} …"), with_roles=with_roles)
        ensure_dagster_database(settings, create=True)
        if with_roles:
            hand_over_dagster_database(settings, PIPELINE)
    return result


def _status_table(statuses: list[ViewReport]) -> Table:
    records = [
        {
            "view": status.name,
            "rows": status.rows,
            "kB": status.size_bytes // 1024,
            "newest day": status.newest_day,
            "last refresh": status.last_refresh or "never",
            "seconds": status.seconds,
            "stale": "yes" if status.stale else "no",
            "failed checks": list(status.checks_failed) or f"none of {len(status.checks_passed)}",
        }
        for status in statuses
    ]
    return new_table("Materialized views (times in Asia/Tokyo)", records)
