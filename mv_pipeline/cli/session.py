"""What every command needs: settings in the environment, folders, the server, Dagster's database."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from mv_pipeline.catalog.relations import Catalog, load_catalog
from mv_pipeline.database.connection import APPLICATION, Database, scalar
from mv_pipeline.database.embedded import running_server
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.migrate.roles import PIPELINE
from mv_pipeline.operations.logging import configure_logs
from mv_pipeline.settings import PROJECT_ROOT, OperatorError, Settings, load_settings

# Piped output has no width of its own; a record must stay on one line there.
console = Console(width=None if sys.stdout.isatty() else 10_000)
errors = Console(stderr=True)


class CommandError(OperatorError):
    """A command can't do what it was asked to."""


@contextlib.contextmanager
def session() -> Iterator[Settings]:
    """Prepare the home, hold the embedded server if there is one, and set the environment for Dagster."""
    settings = load_settings()
    configure_logs(settings)
    prepare_folders(settings)
    prepare_dagster_home(settings)
    os.environ.update(settings.environment())
    with running_server(settings):
        yield settings


@contextlib.contextmanager
def migrated_session() -> Iterator[tuple[Settings, Catalog]]:
    """A session on a database that `migrate` has been run on, and the relations it should hold.

    Raises:
        CommandError: it hasn't been run.
    """
    with session() as settings:
        with Database().connect("session") as connection:
            if scalar(connection, "SELECT to_regclass('log.relation') IS NULL"):
                raise CommandError("Nothing has been created in this database yet. Run `mv-pipeline migrate`.")
        yield settings, load_catalog(settings.sql_dir)


def prepare_dagster_home(settings: Settings) -> None:
    """Make DAGSTER_HOME, with a link to the committed dagster.yaml."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    link = settings.dagster_home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / "dagster.yaml":
        # Services start side by side, so the link is put in its place in one stroke.
        with tempfile.TemporaryDirectory(dir=settings.dagster_home) as folder:
            fresh = Path(folder) / "dagster.yaml"
            fresh.symlink_to(PROJECT_ROOT / "dagster.yaml")
            fresh.replace(link)


def create_dagster_database(settings: Settings) -> None:
    """Create the database for Dagster's storage, if it is missing.

    Raises:
        CommandError: the server doesn't let this role create it.
    """
    name = conninfo_to_dict(settings.resolved_dagster_url()).get("dbname", "dagster")
    with Database().connect("migrate") as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
            return
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(name))))
        except psycopg.errors.InsufficientPrivilege:
            raise CommandError(
                f"The database “{name}” for Dagster is missing and this role can't create it. "
                "Create it, or name another one in MV_PIPELINE_DAGSTER_URL."
            ) from None


def hand_over_dagster_database(settings: Settings) -> None:
    """Give Dagster's database, and the tables that Dagster has made in it, to the pipeline role.

    Dagster makes and changes its tables by itself, so whoever runs it has to own them.

    Raises:
        CommandError: this role may not, or Dagster's storage is on a server without the roles.
    """
    pipeline = sql.Identifier(PIPELINE)
    try:
        with psycopg.connect(
            make_conninfo(settings.resolved_dagster_url()), application_name=f"{APPLICATION} migrate"
        ) as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, pipeline))
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
            for (table,) in tables.fetchall():
                connection.execute(
                    sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("public", table), pipeline)
                )
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
        raise CommandError(
            f"Everything else is done, but Dagster's database can't be handed over to {PIPELINE}: {error}"
        ) from None


def check_dagster_database(settings: Settings) -> None:
    """Connect to Dagster's storage once.

    Raises:
        psycopg.OperationalError: it can't be reached.
    """
    psycopg.connect(
        make_conninfo(settings.resolved_dagster_url()), connect_timeout=5, application_name=f"{APPLICATION} doctor"
    ).close()
