"""What every command needs: settings in the environment, folders, the server, Dagster's instance, a run in process."""

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mv_pipeline.database import Database
from mv_pipeline.embedded import running_server
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.settings import PROJECT_ROOT, Settings, load_settings

# Piped output has no width of its own; tables must not be cut there.
console = Console(width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True)


class CommandError(Exception):
    """A command can't do what it was asked to; the message is the one line that the user reads."""


@contextlib.contextmanager
def session() -> Iterator[Settings]:
    """Prepare the home, hold the embedded server if there is one, and set the environment for Dagster."""
    settings = load_settings()
    prepare_folders(settings)
    prepare_dagster_home(settings)
    os.environ.update(settings.environment())
    with running_server(settings):
        yield settings


def prepare_dagster_home(settings: Settings) -> None:
    """Make DAGSTER_HOME, with a link to the committed dagster.yaml."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    link = settings.dagster_home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / "dagster.yaml":
        link.unlink(missing_ok=True)
        link.symlink_to(PROJECT_ROOT / "dagster.yaml")


def create_dagster_database(settings: Settings) -> None:
    """Create the database for Dagster's storage, if it is missing.

    Raises:
        CommandError: the server doesn't let this role create it.
    """
    name = conninfo_to_dict(settings.resolved_dagster_url()).get("dbname", "dagster")
    with Database().connect() as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
            return
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(name))))
        except psycopg.errors.InsufficientPrivilege:
            raise CommandError(
                f"The database “{name}” for Dagster is missing and this role can't create it. "
                "Create it, or name another one in MV_PIPELINE_DAGSTER_URL."
            ) from None


def check_dagster_database(settings: Settings) -> None:
    """Connect to Dagster's storage once.

    Raises:
        psycopg.OperationalError: it can't be reached.
    """
    psycopg.connect(make_conninfo(settings.resolved_dagster_url()), connect_timeout=5).close()


def run_job(
    job_name: str,
    asset_selection: Sequence[dg.AssetKey] | None = None,
    run_config: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    title: str = "",
) -> dg.ExecuteInProcessResult:
    """Run a job in this process, recorded in Dagster's storage so that the UI shows it.

    Args:
        job_name: one of the code location's jobs.
        asset_selection: the assets to materialize; None: all of the job's.
        run_config: for the steps.
        tags: for the run.
        title: beside the progress bar.
    """
    from mv_pipeline.definitions import defs

    # The terminal shows progress; the steps' log stands in the UI.
    config = {**(run_config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = defs().resolve_job_def(job_name)
    run_id = str(uuid.uuid4())
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    )
    with dg.DagsterInstance.get() as instance, bar:
        steps = (
            len(job.get_subset(asset_selection=set(asset_selection)).graph.nodes)
            if asset_selection
            else len(job.graph.nodes)
        )
        task = bar.add_task(title or job_name, total=steps)

        def advance(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event and (event.is_step_success or event.is_step_failure or event.is_step_skipped):
                bar.advance(task)

        instance.add_event_listener(run_id, advance)
        return job.execute_in_process(
            instance=instance,
            run_config=config,
            asset_selection=list(asset_selection) if asset_selection else None,
            tags=dict(tags or {}),
            raise_on_error=False,
            run_id=run_id,
        )
