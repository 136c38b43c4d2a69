"""The roles: an owner who migrates, a pipeline that loads and refreshes, a reader for dashboards.

Group roles without login; who logs in is a member of one of them, and made by whoever runs the server. A database
uses the roles if its schema `log` belongs to the owner role: roles are the whole server's, so their being there says
nothing about a database. What belongs to which of them, and what each may do, is computed from the catalogue;
objects that aren't ours are left alone.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.catalog.tables import CALENDAR, TABLES
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar
from mv_pipeline.migrate.adopt import obsolete
from mv_pipeline.migrate.table_shapes import ID_SEQUENCES
from mv_pipeline.settings import OperatorError

OWNER = "mv_pipeline_owner"
PIPELINE = "mv_pipeline_pipeline"
READER = "mv_pipeline_reader"
ROLES = (OWNER, PIPELINE, READER)

SCHEMAS = ("raw", "stg", "ref", "kpi", "mart", "rollup", "log")
_READ_SCHEMAS = ("mart", "ref")
# Without arguments that need quoting, so that they can be put in a statement as they are.
_FUNCTIONS = ("ref.business_date()", "ref.king_date(text)")
_STORED_ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_TRIGGER_FUNCTIONS = ("log.note_rows()", "log.note_truncate()")
# They run with their owner's rights, so that the pipeline needn't have them: nobody else may call them.
_PIPELINE_FUNCTIONS = ("log.seen()", "log.take_over()", "log.forget(timestamp with time zone, integer)")
# Every table of ours, with the rights that the pipeline has in addition to SELECT; it writes nothing that people keep.
_TABLES: dict[str, tuple[str, ...]] = {
    **{f"raw.{kind.name}": ("INSERT",) for kind in KINDS},
    **{f"stg.{kind.name}": ("INSERT", "UPDATE") for kind in KINDS},
    **{table.name: ("INSERT", "UPDATE", "DELETE") if table.maintained_by == "pipeline" else () for table in TABLES},
    CALENDAR.name: ("INSERT",),
    "ref.calendar_month": ("INSERT",),
    "log.upload_file": ("INSERT", "UPDATE"),
    "log.taken_file": ("INSERT", "UPDATE", "DELETE"),
    "log.change_note": ("INSERT", "DELETE"),
    "log.view_refresh": ("INSERT",),
    "log.refresh_failure": ("INSERT",),
    "log.counter": ("INSERT", "UPDATE"),
    "log.incident": ("INSERT", "UPDATE"),
    "log.relation": (),
    "log.rollup": ("UPDATE",),
    "log.rollup_day": ("INSERT", "DELETE"),
    "log.v_rollup_news": (),
    "log.server": (),
    "log.v_server": (),
    "log.v_view_news": (),
    "log.v_view_status": (),
    "log.mv_pipeline_version": (),
}
CHANGED = [name for name, rights in _TABLES.items() if {"UPDATE", "DELETE"} & {*rights}]
"""The tables whose rows the pipeline changes or deletes."""

ObjectKind = Literal["SCHEMA", "TABLE", "SEQUENCE", "FUNCTION"]


class RolesError(OperatorError):
    """The role that migrates has too few rights; the message says which is missing."""


@dataclass(frozen=True, order=True)
class Privilege:
    """One right of one role on one object; of a function the name includes its arguments' types."""

    kind: ObjectKind
    name: str
    role: str
    right: str


@dataclass(frozen=True)
class Changes:
    """What was done: roles created, new owners by object, privileges granted and revoked."""

    created: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    granted: list[Privilege] = field(default_factory=list)
    revoked: list[Privilege] = field(default_factory=list)


def has_maintain(connection: Connection) -> bool:
    """True if the server knows the privilege MAINTAIN; without it, only its owner can refresh a view."""
    return connection.info.server_version >= 170000


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


def describe_who_migrates(connection: Connection) -> str:
    """What to do for a session that may not migrate."""
    return f"Run `mv-pipeline migrate` as a member of {OWNER}; {connection.info.user} isn't one."


def missing(connection: Connection) -> list[str]:
    """The roles that the server doesn't have."""
    rows = connection.execute("SELECT role FROM unnest(%s::text[]) AS role WHERE to_regrole(role) IS NULL", [[*ROLES]])
    return [row[0] for row in rows]


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
        raise RolesError(f"This database belongs to the role {OWNER}. {describe_who_migrates(connection)}")
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


def wanted_privileges(catalog: Catalog, maintain: bool) -> set[Privilege]:
    """Compute what pipeline and reader may do.

    Args:
        maintain: the server knows MAINTAIN, so the pipeline needn't own what it refreshes.
    """
    return {*_pipeline_privileges(catalog, maintain), *_reader_privileges(catalog)}


def _pipeline_privileges(catalog: Catalog, maintain: bool) -> Iterator[Privilege]:
    yield from (Privilege("SCHEMA", schema, PIPELINE, "USAGE") for schema in SCHEMAS)
    yield from (Privilege("FUNCTION", name, PIPELINE, "EXECUTE") for name in (*_FUNCTIONS, *_PIPELINE_FUNCTIONS))
    yield from (Privilege("SEQUENCE", name, PIPELINE, "USAGE") for name in (*ID_SEQUENCES, "log.upload_file_id_seq"))
    for name, rights in _TABLES.items():
        yield from (Privilege("TABLE", name, PIPELINE, right) for right in ("SELECT", *rights))
    for rollup in catalog.rollups:
        yield from (Privilege("TABLE", rollup.stored, PIPELINE, right) for right in _STORED_ROWS)
    for relation in catalog.relations.values():
        if maintain or not relation.materialized:  # else it is the owner, and needs no grant
            yield Privilege("TABLE", relation.name, PIPELINE, "SELECT")
        if maintain and relation.materialized:
            yield Privilege("TABLE", relation.name, PIPELINE, "MAINTAIN")


def _reader_privileges(catalog: Catalog) -> Iterator[Privilege]:
    yield from (Privilege("SCHEMA", schema, READER, "USAGE") for schema in _READ_SCHEMAS)
    yield from (Privilege("FUNCTION", function, READER, "EXECUTE") for function in _FUNCTIONS)
    for name in (*_TABLES, *catalog.relations):
        if name.split(".")[0] in _READ_SCHEMAS:
            yield Privilege("TABLE", name, READER, "SELECT")


def misowned(connection: Connection, catalog: Catalog) -> dict[tuple[ObjectKind, str], str]:
    """The objects of ours that belong to another role than they should, with the role that is to own them."""
    wanted: dict[tuple[ObjectKind, str], str] = {("SCHEMA", schema): OWNER for schema in SCHEMAS}
    functions = (*_FUNCTIONS, *_TRIGGER_FUNCTIONS, *_PIPELINE_FUNCTIONS, *obsolete.FUNCTIONS)
    wanted |= {("FUNCTION", name): OWNER for name in functions}
    wanted |= {("TABLE", name): OWNER for name in (*_TABLES, *obsolete.RELATIONS)}
    wanted |= {("TABLE", rollup.stored): OWNER for rollup in catalog.rollups}
    wanted |= {("SEQUENCE", name): OWNER for name in ID_SEQUENCES}
    for relation in catalog.relations.values():
        pipelines = relation.materialized and not has_maintain(connection)
        wanted["TABLE", relation.name] = PIPELINE if pipelines else OWNER
    owners, _ = _read_objects(connection)
    return {item: role for item, role in wanted.items() if owners.get(item, role) != role}


def hand_over(connection: Connection, catalog: Catalog) -> dict[str, str]:
    """Give everything of ours to the role that is to own it, as far as it is in the database already.

    Returns:
        The new owners by object.
    """
    changed = misowned(connection, catalog)
    # Schemas come first: who gets a table has to have CREATE on its schema.
    for (kind, name), role in changed.items():
        statement = "ALTER {kind} {name} OWNER TO {role}"  # ALTER TABLE serves views and materialized views too
        if role == PIPELINE:
            statement = (
                "GRANT CREATE ON SCHEMA {schema} TO {role}; ALTER {kind} {name} OWNER TO {role}; "
                "REVOKE CREATE ON SCHEMA {schema} FROM {role}"
            )
        connection.execute(
            sql.SQL(statement).format(
                kind=sql.SQL(kind),
                name=_object(kind, name),
                role=sql.Identifier(role),
                schema=sql.Identifier(name.split(".")[0]),
            )
        )
    return {name: role for (_, name), role in changed.items()}


def compare_privileges(connection: Connection, catalog: Catalog) -> tuple[list[Privilege], list[Privilege]]:
    """Privileges of pipeline and reader that are missing, and what they have too much of on our objects."""
    wanted = wanted_privileges(catalog, has_maintain(connection))
    ours = {(privilege.kind, privilege.name) for privilege in wanted}
    granted = {privilege for privilege in _read_objects(connection)[1] if (privilege.kind, privilege.name) in ours}
    return sorted(wanted - granted), sorted(granted - wanted)


def grant(connection: Connection, catalog: Catalog) -> tuple[list[Privilege], list[Privilege]]:
    """Grant pipeline and reader what is missing, and revoke what is too much on our objects, as the owner role.

    Returns:
        What was granted and what was revoked.
    """
    connection.execute(
        sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(sql.SQL(", ").join(map(sql.Identifier, SCHEMAS)))
    )
    granted, revoked = compare_privileges(connection, catalog)
    changes = [("GRANT {} ON {} {} TO {}", privilege) for privilege in granted]
    changes += [("REVOKE {} ON {} {} FROM {}", privilege) for privilege in revoked]
    for statement, privilege in changes:
        kind = sql.SQL(privilege.kind)
        name = _object(privilege.kind, privilege.name)
        role = sql.Identifier(privilege.role)
        connection.execute(sql.SQL(statement).format(sql.SQL(privilege.right), kind, name, role))
    return granted, revoked


def _object(kind: ObjectKind, name: str) -> sql.Composable:
    return sql.SQL(name) if kind == "FUNCTION" else identifier(name)


def _read_objects(connection: Connection) -> tuple[dict[tuple[ObjectKind, str], str], set[Privilege]]:
    """Who owns what in our schemas, and what pipeline and reader may do with what they don't own."""
    rows = connection.execute(
        read_query(__file__, "owned_objects"),
        {"schemas": [*SCHEMAS], "roles": [PIPELINE, READER]},
    ).fetchall()
    owners = {(kind, name): owner for kind, name, owner, *_ in rows}
    return owners, {Privilege(kind, name, role, right) for kind, name, _, role, right in rows if right}
