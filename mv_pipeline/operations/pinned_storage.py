"""Dagster's storage, in sessions like our own; dagster.yaml names it, so that every process of Dagster has it."""

from typing import Any

import psycopg
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import retry_pg_connection_fn
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from mv_pipeline.database.connection import session_parameters


class PinnedStorage(DagsterPostgresStorage):
    """As its base, but with a URL that PostgreSQL's own library reads, and with the settings of our sessions."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "PinnedStorage":
        """Make the storage of that `postgres_url`.

        Raises:
            DagsterPostgresException: its server can't be reached.
        """

        def read_parameters() -> dict[str, Any]:
            try:
                # Dagster takes the times that the server puts in for UTC.
                return session_parameters(config_value["postgres_url"], "dagster", TimeZone="UTC")
            except psycopg.OperationalError as error:
                raise OperationalError("", {}, error) from None

        parameters = {name: str(value) for name, value in retry_pg_connection_fn(read_parameters).items()}
        # SQLAlchemy wants a port for each host, where one may serve all.
        if "," in (hosts := parameters.get("host", "")) and parameters.get("port", ",").isdecimal():
            parameters["port"] = ",".join([parameters["port"]] * len(hosts.split(",")))
        # It hides a password only in its own place.
        user, password, name = (parameters.pop(part, None) for part in ("user", "password", "dbname"))
        url = URL.create("postgresql+psycopg2", user, password, database=name, query=parameters)
        return cls(url.render_as_string(hide_password=False), inst_data=inst_data)
