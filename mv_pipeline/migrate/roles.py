"""The roles: an owner who migrates, a pipeline that loads and refreshes, a reader for dashboards.

Group roles without login; who logs in is a member of one of them, and made by whoever runs the server. A database
uses the roles if its schema `log` belongs to the owner role: roles are the whole server's, so their being there says
nothing about a database. What belongs to which of them, and what each may do, stands in `schema.privileges`.
"""

import contextlib
from collections.abc import Collection, Iterator
from typing import Literal

from psycopg import sql

from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline.settings import OperatorError

OWNER = "mv_pipeline_owner"
PIPELINE = "mv_pipeline_pipeline"
READER = "mv_pipeline_reader"
ROLES = (OWNER, PIPELINE, READER)

_MAINTAIN_VERSION = 170000


class RolesError(OperatorError):
    """The role that migrates has too few rights; the message says which is missing."""


def has_maintain(connection: Connection) -> bool:
    """True if the server knows the privilege MAINTAIN; without it, only its owner can refresh a view."""
    return connection.info.server_version >= _MAINTAIN_VERSION


def in_use(connection: Connection) -> bool:
    """True if this database uses the roles."""
    return bool(
        scalar(
            connection,
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'log' AND pg_get_userbyid(nspowner) = %s)",
            [OWNER],
        )
    )


def may_migrate(connection: Connection) -> bool:
    """True if this database doesn't use the roles, or the session can act as the owner role."""
    return not in_use(connection) or bool(scalar(connection, "SELECT pg_has_role(%s, 'SET')", [OWNER]))


def missing(connection: Connection) -> list[str]:
    """The roles that the server doesn't have."""
    existing = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    return [role for role in ROLES if role not in existing]


def prepare(connection: Connection) -> list[str]:
    """Create the roles that are missing, and give them their rights on the database itself.

    Returns:
        The names of the roles created.

    Raises:
        psycopg.errors.InsufficientPrivilege: the session may not create roles, or doesn't own the database.
    """
    created = missing(connection)
    for role in created:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    # Who isn't a superuser has to be a member of a role to hand something over to it.
    for role in (OWNER, PIPELINE):
        if not scalar(connection, "SELECT pg_has_role(%s, 'SET')", [role]):
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    database = sql.Identifier(connection.info.dbname)
    for rights, role in (("CONNECT, CREATE, TEMPORARY", OWNER), ("CONNECT, TEMPORARY", PIPELINE), ("CONNECT", READER)):
        connection.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(rights), database, sql.Identifier(role))
        )
    if not has_maintain(connection):
        # The pipeline owns the materialized views there; the owner still has to rebuild them.
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(PIPELINE), sql.Identifier(OWNER)))
    return created


def act_as_owner(connection: Connection, *, until: Literal["transaction", "session"] = "transaction") -> None:
    """Let what follows run as the owner role, so that what it makes belongs to that role.

    Args:
        connection: in a transaction, or in autocommit mode for a session.
        until: how long.

    Raises:
        RolesError: the session isn't a member of it.
    """
    if not may_migrate(connection):
        raise RolesError(
            f"This database belongs to the role {OWNER}. Run `mv-pipeline migrate` as a member of it; "
            f"{connection.info.user} isn't one."
        )
    scope = sql.SQL("LOCAL" if until == "transaction" else "SESSION")
    connection.execute(sql.SQL("SET {} ROLE {}").format(scope, sql.Identifier(OWNER)))


@contextlib.contextmanager
def as_caller(connection: Connection) -> Iterator[None]:
    """Let the block run as whoever runs the migration: what others own is that role's business, not our owner role's.

    Args:
        connection: in a transaction; an exception leaves the role to the transaction's end.
    """
    acting = scalar(connection, "SELECT nullif(current_user, session_user)::text")
    connection.execute("SET LOCAL ROLE NONE")
    yield
    if acting:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(acting)))


def unreachable_owners(connection: Connection, names: Collection[str]) -> dict[str, list[str]]:
    """The owners of relations that whoever runs the migration isn't a member of, with the relations' names."""
    rows = connection.execute(
        "SELECT c.relowner::regrole::text, array_agg(n.nspname || '.' || c.relname ORDER BY 1) "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname || '.' || c.relname = ANY (%s) AND NOT pg_has_role(session_user, c.relowner, 'USAGE') "
        "GROUP BY 1 ORDER BY 1",
        [list(names)],
    )
    return dict(rows.fetchall())
