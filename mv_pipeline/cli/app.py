"""The commands, their options and their exit codes: 0 means that all is well.

Data goes to stdout, progress and errors to stderr. An error is one line with the way out.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from rich import box
from rich.table import Table

from mv_pipeline import logs
from mv_pipeline.catalog.kinds import LISTS, find_kind
from mv_pipeline.catalog.relations import Catalog, load_catalog
from mv_pipeline.cli.services import Service, check_migrated, serve
from mv_pipeline.cli.session import (
    CommandError,
    console,
    create_dagster_database,
    errors,
    hand_over_dagster_database,
    migrated_session,
    session,
)
from mv_pipeline.database import Database
from mv_pipeline.errors import OperatorError
from mv_pipeline.schema.roles import may_migrate
from mv_pipeline.settings import HOST, Settings, load_settings

if TYPE_CHECKING:
    from mv_pipeline.schema.migrate import Migration

# Commands import what only they need when they run: Dagster alone takes over a second.

app = typer.Typer(
    help="Keeps the plant's materialized views fresh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("migrate")
def migrate_command(
    with_roles: Annotated[
        bool, typer.Option("--roles", help="Create the roles owner, pipeline and reader, and hand everything over.")
    ] = False,
) -> None:
    """Create or update everything in the database; running it again changes nothing."""
    with session() as settings:
        result = _migrate(settings, load_catalog(settings.sql_dir), with_roles=with_roles)
    done = [f"{name}: {action}" for name, action in result.changed.items()]
    done += [f"{name}: drop" for name in result.dropped if name not in result.changed]
    done += [f"{name}: {rows} rows" for name, rows in result.reference.items() if rows]
    done += [f"{name}: role created" for name in result.access.created]
    done += [f"{len(result.access.owners)} objects have a new owner"] if result.access.owners else []
    if result.access.granted or result.access.revoked:
        done.append(f"{len(result.access.granted)} privileges granted, {len(result.access.revoked)} revoked")
    if result.revision_before != result.revision_after:
        done.insert(0, f"revision {result.revision_before or 'none'} → {result.revision_after}")
    console.print("\n".join(done) if done else "Nothing to do: the database is up to date.", highlight=False)


@app.command("ingest")
def ingest_command(
    kind: Annotated[str, typer.Option(help="The CSV kind, as in shogun_flash_receive.")],
    files: Annotated[list[Path], typer.Argument(help="CSV files; they stay where they are.")],
    as_json: Json = False,
) -> None:
    """Load CSV files and refresh what lies downstream. Exit code 1 if a file was rejected or the run failed."""
    from mv_pipeline.cli.ingest import ingest_files

    name = find_kind(kind).name
    with migrated_session() as (settings, catalog):
        outcomes, result = ingest_files(settings, catalog, [(name, path) for path in files], "command line")
    records = [asdict(outcome) for outcome in outcomes]
    _print_records(records, as_json, "Uploads")
    if len(outcomes) < len(files):
        raise CommandError(
            f"{len(files) - len(outcomes)} files wait in the inbox; run {result.run_id} in the UI says why."
        )
    if not result.success:
        raise CommandError(f"Run {result.run_id} failed; the UI says where.")
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


@app.command("refresh")
def refresh_command(
    names: Annotated[list[str] | None, typer.Argument(help="Views, as in mart.mv_receive_daily.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every materialized view.")] = False,
    csv_type: Annotated[
        str | None, typer.Option(help="Every view downstream of this list: receive, shipment or yard.")
    ] = None,
    full: Annotated[bool, typer.Option(help="Recompute the rollups from the staging lines first.")] = False,
) -> None:
    """Refresh materialized views, in the graph's order, after rolling up what changed upstream of them."""
    from mv_pipeline.cli.refresh import refresh_selection
    from mv_pipeline.cli.runs import run_job
    from mv_pipeline.jobs import REFRESH_ALL, REFRESH_CHANGED

    if sum(map(bool, (names, every or (full and not names and not csv_type), csv_type))) != 1:
        raise CommandError("Say what to refresh: names, --all, --csv-type, or --full for all from the staging lines.")
    if csv_type and csv_type not in [csv_list.csv_type for csv_list in LISTS]:
        raise CommandError(f"There is no list “{csv_type}”. The lists are: {', '.join(c.csv_type for c in LISTS)}.")
    with migrated_session() as (_, catalog):
        selection, config = refresh_selection(catalog, names or [], csv_type, full)
        # A job's own configuration names all of its steps, so a part of them runs as the job that has none.
        result = run_job(REFRESH_CHANGED if selection else REFRESH_ALL, selection, config, title="Refreshing")
    failed = [event.step_key for event in result.get_step_failure_events()] if not result.success else []
    if failed:
        raise CommandError(
            f"These steps failed: {', '.join(map(str, failed))}. Run {result.run_id} in the UI says why."
        )
    console.print(f"Done: run {result.run_id}.", highlight=False)


@app.command("backfill")
def backfill_command(
    kind: Annotated[str, typer.Option(help="The CSV kind, as in shogun_final_receive.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included.")],
    as_json: Json = False,
) -> None:
    """Derive days of a kind again from raw, and refresh what lies downstream."""
    from mv_pipeline.cli.backfill import backfill

    found = find_kind(kind)
    if last < first:
        raise CommandError("--to lies before --from.")
    with migrated_session() as (_, catalog):
        totals, result = backfill(catalog, found, first.date(), last.date())
    if not result.success:
        raise CommandError(f"Run {result.run_id} failed; the UI says where.")
    _print_records([dict(totals)], as_json, "Backfill")


@app.command("status")
def status_command(as_json: Json = False) -> None:
    """Show each materialized view and run its checks. Exit code 1 if one fails."""
    from mv_pipeline.cli.status import as_records, as_table, read_status

    with migrated_session() as (_, catalog), Database().connect("status") as connection:
        statuses = read_status(connection, catalog)
    if as_json:
        _print_json(as_records(statuses))
    else:
        console.print(as_table(statuses))
    if any(status.checks_failed for status in statuses):
        for status in statuses:
            for name, message in status.checks_failed.items():
                errors.print(f"{status.name}, {name}: {message}", highlight=False, markup=False)
        raise typer.Exit(1)


@app.command("url")
def url_command() -> None:
    """Print the database's URL, for psql and dashboards. The embedded server only answers while something holds it."""
    sys.stdout.write(load_settings().resolved_database_url() + "\n")


@app.command("dev")
def dev_command() -> None:
    """Start the server, migrate, and run web UI, sensor and schedule until Ctrl-C."""
    with session() as settings:
        catalog = load_catalog(settings.sql_dir)
        with Database().connect("dev") as connection:
            migrates = may_migrate(connection)
            if not migrates:
                check_migrated(connection, catalog)
        if migrates:
            _migrate(settings, catalog)
        console.print(
            f"UI:    http://{HOST}:{settings.port}\nInbox: {settings.inbox_dir}\nCtrl-C stops all.", highlight=False
        )
        code = serve(settings, [Service.WEB, Service.DAEMON])
    if code:
        raise CommandError("The web UI or the daemon ended by itself; its last lines stand above.")


@app.command("serve")
def serve_command(service: Annotated[Service, typer.Argument(help="What to run.")]) -> None:
    """Run the daemon, the web UI, the read-only web UI or the metrics alone, for a service manager; never migrate."""
    with migrated_session() as (settings, _):
        code = serve(settings, [service])
    if code:
        raise CommandError(f"The {service} ended by itself; its last lines stand above.")


@app.command("metrics")
def metrics_command() -> None:
    """Serve Prometheus metrics on 127.0.0.1 until Ctrl-C; the same as `serve metrics`."""
    serve_command(Service.METRICS)


@app.command("demo")
def demo_command() -> None:
    """Fill the embedded database with made-up data through the real path and show every view."""
    from mv_pipeline.cli.demo import run_demo
    from mv_pipeline.cli.status import as_table, read_status

    with session() as settings:
        catalog = load_catalog(settings.sql_dir)
        _migrate(settings, catalog)
        outcomes = run_demo(settings, catalog)
        with Database().connect("demo") as connection:
            statuses = read_status(connection, catalog)
    counts = {
        status: sum(outcome.status == status for outcome in outcomes) for status in ("success", "duplicate", "failed")
    }
    console.print(
        f"{len(outcomes)} files: {counts['success']} loaded ({sum(outcome.rows for outcome in outcomes):,} lines), "
        f"{counts['duplicate']} known already, {counts['failed']} rejected.",
        highlight=False,
    )
    console.print(as_table(statuses))
    console.print(
        f"Next: `make dev`, then open http://127.0.0.1:{settings.port} and drop a CSV file into "
        f"{settings.inbox_dir}/<kind>/.",
        highlight=False,
        soft_wrap=True,
    )
    if counts["failed"] or any(status.checks_failed for status in statuses):
        raise typer.Exit(1)


@app.command("doctor")
def doctor_command(as_json: Json = False) -> None:
    """Say what is wrong with this installation. Exit code 1 if something is."""
    from mv_pipeline.cli.doctor import examine

    with session() as settings:
        found = examine(settings, load_catalog(settings.sql_dir))
    if as_json:
        _print_json([asdict(diagnosis) for diagnosis in found])
    else:
        marks = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "error": "[red]error[/red]"}
        for diagnosis in found:
            console.print(marks[diagnosis.level], end=": ")
            console.print(diagnosis.sentence, highlight=False, markup=False, soft_wrap=True)
    if any(diagnosis.level == "error" for diagnosis in found):
        raise typer.Exit(1)


@app.command("watch")
def watch_command(as_json: Json = False) -> None:
    """Look for trouble once, from outside the daemon, and tell whoever is to know. Exit code 1 if there is any."""
    from mv_pipeline.cli.watch import watch

    look = watch(load_settings())
    if as_json:
        _print_json([{"title": i.title, "message": i.message, "since": i.opened_at.isoformat()} for i in look.standing])
    else:
        console.print(str(look), highlight=False, markup=False, soft_wrap=True)
    if look.standing or look.failed:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what is the user's to mend is told in one line."""
    try:
        app()
    except (OperatorError, psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        if logs.in_json():
            logs.logger.critical(str(error))
        else:
            errors.print(f"mv-pipeline: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)


def _migrate(settings: Settings, catalog: Catalog, *, with_roles: bool = False) -> "Migration":
    from mv_pipeline.schema.migrate import migrate

    with errors.status("Migrating …") as status:
        result = migrate(Database(), catalog, lambda step: status.update(f"Migrating: {step} …"), with_roles=with_roles)
        create_dagster_database(settings)
        if with_roles:
            hand_over_dagster_database(settings)
    return result


def _print_records(records: Sequence[dict[str, object]], as_json: bool, title: str) -> None:
    if as_json:
        _print_json(records)
        return
    table = Table(title=title, box=box.SIMPLE)
    for heading in records[0] if records else []:
        table.add_column(heading)
    for record in records:
        table.add_row(*("" if value is None else str(value) for value in record.values()))
    console.print(table)


def _print_json(data: object) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
