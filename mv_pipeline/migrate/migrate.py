"""`migrate`: brings a database to the state that the revisions, the catalogue and the SQL files describe.

First everything is planned and rehearsed (see `migrate.plan`). Then the tables are changed in one transaction; what
rollups read is swapped in; the rollups are filled in parts and swapped in; and all other views are built in shadow
schemas and swapped in, in one transaction. Each part is done whole or not at all, and a migration that was interrupted
goes on where it stopped.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from mv_pipeline.catalog.relations import Catalog, Rollup
from mv_pipeline.database.connection import Connection, Database, limit_waits, sessions
from mv_pipeline.migrate import build, revise, roles, table_shapes
from mv_pipeline.migrate.attributes import describe, outdated_comments, record, record_lineage
from mv_pipeline.migrate.dependents import read_unmanaged_dependents
from mv_pipeline.migrate.plan import MigrateError, Plan, feeders, plan
from mv_pipeline.migrate.state import Action, changes, kind_of
from mv_pipeline.migrate.stored import create_stored, fill_stored
from mv_pipeline.migrate.swap import BusyError, drop_functions, retry, swap, sweep
from mv_pipeline.refresh import reference
from mv_pipeline.refresh.rollup import owe_days
from mv_pipeline.refresh.views import MIGRATE, read_view_status, refresh_view
from mv_pipeline.settings import load_settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Migration:
    """What a migration changed.

    Args:
        revision_before, revision_after: of the tables.
        changed: relations by what was done to them.
        compared: how the rows of what was swapped compare with those before.
        dropped: relations and functions dropped.
        kept: what would have been dropped but for somebody else's need of it, with the reason; what others need of
            an old definition is in a schema of its own.
        remarks: what is worth knowing, a sentence each.
        reference: rows changed in reference tables.
        access: what changed in who may what.
    """

    revision_before: str | None
    revision_after: str | None
    changed: dict[str, Action] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    reference: dict[str, int] = field(default_factory=dict)
    access: roles.Changes = field(default_factory=roles.Changes)


def migrate(
    database: Database, catalog: Catalog, progress: Say | None = None, *, with_roles: bool = False
) -> Migration:
    """Create what is missing and rebuild what changed.

    Args:
        database: PostgreSQL 16 or later.
        progress: called with the name of each step as it begins.
        with_roles: create the roles and hand everything over to them; a database that has been handed over stays so.

    Raises:
        MigrateError: the server is too old, something has to be changed first, or the server refuses a statement.
        BusyError: another migration is under way, or what has to be changed is in use.
    """
    say = progress or (lambda _: None)
    # Whoever prunes the change log leaves it alone meanwhile: what is being built hasn't seen all of it.
    tries = Retrying(
        retry=retry_if_exception_type(BusyError),
        stop=stop_after_delay(load_settings().lock_timeout_seconds),
        wait=wait_random(0.1, 0.5),
        reraise=True,
    )
    with tries(_alone, database) as connection:
        say("planning")
        found = plan(database, catalog, with_roles=with_roles)
        try:
            return _carry_out(database, connection, catalog, found, say, with_roles)
        except psycopg.Error as error:
            raise MigrateError(f"The migration stopped; run it again to go on: {error}") from error
        except build.BuildError as error:
            raise MigrateError(f"The views are as they were: {error}") from error


def _alone(database: Database) -> Connection:
    """Open a connection that keeps other migrations away; it dies with the process.

    Raises:
        BusyError: another migration is under way.
    """
    connection = database.connect(MIGRATE)
    if others := sessions(connection, MIGRATE):
        # Two that wait would see each other.
        connection.close()
        pids = ", ".join(map(str, others.values()))
        raise BusyError(f"Another migration is under way (session {pids}). Run this one again when it has ended.")
    return connection


def _carry_out(
    database: Database, connection: Connection, catalog: Catalog, found: Plan, say: Say, with_roles: bool
) -> Migration:
    say("tables")
    changed_tables = [*found.untracked, *(index.table for index in found.indexes)]
    access = retry(connection, changed_tables, lambda wait: _migrate_tables(database, catalog, found, with_roles, wait))
    uses_roles = roles.in_use(connection)
    if uses_roles:
        roles.act_as_owner(connection, until="session")
    for index in found.large_indexes:
        say(f"index {index.name}")
        index.create(connection, concurrently=True)
    first = feeders(catalog)
    say("rollups and what they read")
    compared = _migrate_rollups(connection, catalog, [name for name in found.rebuilt() if name in first], say)
    filled = {}
    if found.calendar_empty:
        with connection.transaction():
            filled = reference.update_reference_tables(connection)
    say("views")
    remaining = [name for name in found.rebuilt() if name not in first]
    compared |= _migrate_views(connection, catalog, remaining, found.obsolete)
    if uses_roles:
        say("privileges")
    functions, parked, access = retry(
        connection, [*catalog.relations], lambda wait: _finish(connection, catalog, found, access, wait)
    )
    say("refresh")
    changed = {name: decision.action for name, decision in changes(found.decisions).items()}
    _refresh_stale(connection, catalog, changed)
    return Migration(
        found.revision,
        revise.current(connection),
        changed,
        compared,
        [*(name for name in found.obsolete if kind_of(connection, name) is None), *functions],
        {**found.kept, **parked},
        found.remarks,
        filled,
        access,
    )


def _migrate_tables(database: Database, catalog: Catalog, found: Plan, with_roles: bool, wait: str) -> roles.Changes:
    """Everything about tables and roles but large indexes, in one transaction."""
    with revise.transaction(database) as (connection, upgrade):
        limit_waits(connection, lock_timeout=wait)
        uses_roles = with_roles or roles.in_use(connection)
        created = roles.prepare(connection) if with_roles else []
        owners = roles.hand_over(connection, catalog) if uses_roles else {}
        if uses_roles:
            roles.act_as_owner(connection)
        upgrade()
        table_shapes.create_tables(connection)
        for index in found.indexes:
            index.create(connection)
        table_shapes.create_triggers(connection, table_shapes.untracked(connection))
    return roles.Changes(created, owners)


def _finish(
    connection: Connection, catalog: Catalog, found: Plan, access: roles.Changes, wait: str
) -> tuple[list[str], dict[str, str], roles.Changes]:
    """Write down what was adopted, drop what is parked, and grant the roles their missing privileges."""
    with connection.transaction():
        limit_waits(connection, lock_timeout=wait)
        for name, decision in found.decisions.items():
            if decision.action == "adopt":
                record(connection, catalog.relations[name])
        for relation in outdated_comments(connection, catalog.relations.values()):
            describe(connection, relation, relation.name)
            record(connection, relation)
        record_lineage(connection, catalog)
        functions = drop_functions(connection, found.functions)
        parked = sweep(connection, catalog)
        if not roles.in_use(connection):
            return functions, parked, access
        owners = access.owners | roles.hand_over(connection, catalog)
        return functions, parked, roles.Changes(access.created, owners, *roles.grant(connection, catalog))


def _migrate_rollups(connection: Connection, catalog: Catalog, names: list[str], say: Say) -> dict[str, str]:
    """Fill rollups and swap them in with what they read; each is filled once what it reads is in its place."""
    compared: dict[str, str] = {}
    waiting: list[str] = []
    for name in names:
        relation = catalog.relations[name]
        if isinstance(relation, Rollup):
            compared |= _migrate_views(connection, catalog, waiting, [])
            waiting = []
            if kind_of(connection, relation.stored) is None:
                with connection.transaction():
                    create_stored(connection, relation, relation.query)
            fill_stored(connection, relation, say)
        waiting.append(name)
    return compared | _migrate_views(connection, catalog, waiting, [])


def _migrate_views(connection: Connection, catalog: Catalog, names: list[str], obsolete: list[str]) -> dict[str, str]:
    """Build relations in shadow schemas and swap them in; what a rollup reads counts as changed with its view."""
    unmanaged = read_unmanaged_dependents(connection, names, [*catalog.relations, *obsolete])
    others = [dependent for dependent in unmanaged if dependent.materialized]
    # A rollup's own rows are those of its file; of any other view somebody may have changed them.
    replaced = {name for name in names if catalog.relations[name].kind == "view"}

    def attempt(wait: str) -> dict[str, str]:
        with connection.transaction():
            limit_waits(connection)
            compared = swap(connection, catalog, built, obsolete, wait)
            for rollup in catalog.rollups:
                if catalog.upstream(rollup.name) & replaced and kind_of(connection, rollup.stored):
                    owe_days(connection, rollup)
        return compared

    try:
        built = build.build(connection, [*(catalog.relations[name] for name in names), *others])
        return retry(connection, [*names, *obsolete], attempt)
    finally:
        build.tear_down(connection)


def _refresh_stale(connection: Connection, catalog: Catalog, changed: Collection[str]) -> None:
    # What was built within a transaction can't tell that transaction's own changes from later ones.
    for view in catalog.materialized_views:
        (status,) = read_view_status(connection, [view])
        if view.name in changed and status.stale:
            refresh_view(connection, view)
