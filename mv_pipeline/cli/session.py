"""What every command needs: settings in the environment, folders, the server."""

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console

from mv_pipeline.catalog.relations import Catalog, load_catalog
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.database.dagster_storage import prepare_dagster_home
from mv_pipeline.database.embedded import running_server
from mv_pipeline.intake.inbox import prepare_folders
from mv_pipeline.operations.logging import configure_logs
from mv_pipeline.settings import OperatorError, Settings, load_settings

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
