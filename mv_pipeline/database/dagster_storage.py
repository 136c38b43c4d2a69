"""Dagster's own home and database: prepared, created, handed to the role that runs Dagster, and checked."""

import tempfile
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from mv_pipeline.database.connection import APPLICATION, Database, create_database
from mv_pipeline.settings import PROJECT_ROOT, OperatorError, Settings


class DagsterStorageError(OperatorError):
    """Dagster's database can't be created or handed over; the message says which right is missing."""


def prepare_dagster_home(settings: Settings) -> None:
    """Make DAGSTER_HOME, with a link to the committed dagster.yaml."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    link = settings.dagster_home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != PROJECT_ROOT / "dagster.yaml":
        # Services start at the same time, so the link is replaced atomically.
        with tempfile.TemporaryDirectory(dir=settings.dagster_home) as folder:
            fresh = Path(folder) / "dagster.yaml"
            fresh.symlink_to(PROJECT_ROOT / "dagster.yaml")
            fresh.replace(link)


def create_dagster_database(settings: Settings) -> None:
    """Create the database for Dagster's storage, if it is missing.

    Raises:
        DagsterStorageError: the server doesn't let this role create it.
    """
    name = str(conninfo_to_dict(settings.resolved_dagster_url()).get("dbname", "dagster"))
    with Database().connect("migrate") as connection:
        try:
            create_database(connection, name)
        except psycopg.errors.InsufficientPrivilege:
            raise DagsterStorageError(
                f"The database “{name}” for Dagster is missing and this role can't create it. "
                "Create it, or name another one in MV_PIPELINE_DAGSTER_URL."
            ) from None


def hand_over_dagster_database(settings: Settings, owner: str) -> None:
    """Give Dagster's database, and the tables that Dagster has made in it, to a role.

    Dagster makes and changes its tables by itself, so whoever runs it has to own them.

    Raises:
        DagsterStorageError: this role may not, or Dagster's storage is on a server without the roles.
    """
    role = sql.Identifier(owner)
    try:
        with Database(settings.resolved_dagster_url()).transaction("migrate") as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
            for (table,) in tables.fetchall():
                connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("public", table), role))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
        raise DagsterStorageError(
            f"Everything else is done, but Dagster's database can't be handed over to {owner}: {error}"
        ) from None


def check_dagster_database(settings: Settings) -> None:
    """Connect to Dagster's storage once.

    Raises:
        psycopg.OperationalError: it can't be reached.
    """
    psycopg.connect(
        settings.resolved_dagster_url(), connect_timeout=5, application_name=f"{APPLICATION} doctor"
    ).close()
