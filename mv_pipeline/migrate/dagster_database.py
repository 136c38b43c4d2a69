"""The database for Dagster's storage: created if it is missing, and handed to the role that runs Dagster.

What is in it is Dagster's own business.
"""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from mv_pipeline.database.connection import Database, create_database, one_row
from mv_pipeline.settings import OperatorError, Settings, with_database


class DagsterStorageError(OperatorError):
    """Dagster's database can't be created or handed over; the message says which right is missing."""


def ensure_dagster_database(settings: Settings, *, create: bool) -> str:
    """Create the database for Dagster's storage if it is missing, or only check.

    Returns:
        Its name; empty: it was there.

    Raises:
        DagsterStorageError: it is missing, and this role can't create it.
        psycopg.OperationalError: its server can't be reached.
    """
    warehouse, dagster = map(conninfo_to_dict, (settings.resolved_database_url(), settings.resolved_dagster_url()))
    name = str(dagster.get("dbname", "dagster"))
    same = all(warehouse.get(part) == dagster.get(part) for part in ("host", "hostaddr", "port"))
    beside = "" if same else with_database(settings.resolved_dagster_url(), "postgres")
    with Database(beside).connect("migrate") as connection:
        exists, allowed = one_row(
            connection,
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s), rolsuper OR rolcreatedb "
            "FROM pg_roles WHERE rolname = current_user",
            [name],
        )
        if not exists and not allowed:
            raise DagsterStorageError(
                f"The database “{name}” for Dagster is missing and this role can't create it. "
                "Create it, or name another one in MV_PIPELINE_DAGSTER_URL."
            )
        if create:
            create_database(connection, name)
    return "" if exists else name


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
