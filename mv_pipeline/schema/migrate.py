"""`migrate`: brings a database to the state that the revisions, the catalogue and the SQL files describe.

One transaction holds all of it, under an advisory lock; running it again changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

import alembic.command
import alembic.config
import psycopg
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from mv_pipeline import reference, rollup
from mv_pipeline.catalog.relations import Catalog, RelationError
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.database import MINIMUM_SERVER_VERSION, Connection, Database, lock_for_transaction
from mv_pipeline.errors import OperatorError
from mv_pipeline.refresh import last_refresh, refresh_view
from mv_pipeline.schema import relations, roles, staging

REVISIONS = Path(__file__).parent / "revisions"


class MigrateError(OperatorError):
    """The database can't be brought to the wanted state; nothing was changed. The message says why."""


@dataclass(frozen=True)
class Migration:
    """What a migration changed.

    Args:
        revision_before, revision_after: of the tables.
        changed: relations by what was done to them.
        dropped: relations dropped, to be made again or for good.
        reference: rows changed in reference tables.
        access: what changed in who may what.
    """

    revision_before: str | None
    revision_after: str | None
    changed: dict[str, relations.Action] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    reference: dict[str, int] = field(default_factory=dict)
    access: roles.Changes = field(default_factory=roles.Changes)


def migrate(
    database: Database, catalog: Catalog, progress: Callable[[str], None] | None = None, *, with_roles: bool = False
) -> Migration:
    """Create what is missing and rebuild what changed, all or nothing.

    Args:
        database: PostgreSQL 16 or later.
        catalog: the views and materialized views to have.
        progress: called with the name of each step as it begins.
        with_roles: create the roles and hand everything over to them; a database that has been handed over stays so.

    Raises:
        MigrateError: the server is too old, or it refuses a statement.
    """
    say = progress or (lambda _: None)
    # SQLAlchemy lends Alembic the connection; it is ours, with one transaction for everything.
    engine = create_engine("postgresql+psycopg://", creator=partial(database.open, "migrate"), poolclass=NullPool)
    try:
        with engine.begin() as bind:
            connection = cast(Connection, bind.connection.dbapi_connection)
            if connection.info.server_version < MINIMUM_SERVER_VERSION:
                raise MigrateError(
                    f"The server is PostgreSQL {connection.info.server_version // 10000}; 16 or later is needed."
                )
            lock_for_transaction(connection, "migrate")
            say("tables")
            uses_roles = with_roles or roles.in_use(connection)
            created = roles.prepare(connection) if with_roles else []
            owners = roles.hand_over(connection, catalog) if uses_roles else {}
            if uses_roles:
                roles.act_as_owner(connection)
            before = _revision(connection)
            config = alembic.config.Config()
            config.set_main_option("script_location", str(REVISIONS))
            config.attributes["connection"] = bind
            alembic.command.upgrade(config, "head")
            staging.create_staging(connection)
            say("views")
            migration = _relations_and_data(connection, catalog, before)
            if uses_roles:
                say("privileges")
                owners |= roles.hand_over(connection, catalog)
                migration = replace(migration, access=roles.Changes(created, owners, *roles.grant(connection, catalog)))
    except (psycopg.Error, RelationError) as error:
        raise MigrateError(f"Nothing was changed: {error}") from error
    finally:
        engine.dispose()
    say("refresh")
    with database.connect("migrate") as connection:
        # What was created in the transaction above can't tell that transaction's own changes from later ones.
        for name in migration.changed:
            view = catalog.relations[name]
            last = last_refresh(connection, catalog, view) if view.materialized else None
            if last and not last.fresh:
                refresh_view(connection, view)
    return migration


def _relations_and_data(connection: Connection, catalog: Catalog, before: str | None) -> Migration:
    existing, retired = relations.read_existing(connection, catalog)
    plan = relations.decide(catalog, existing, retired)
    # Materialized views are filled as they are created, so what they read has to be filled before them.
    plain = relations.Plan(plan.drops, {n: a for n, a in plan.actions.items() if not _needs_rollup(catalog, n)})
    relations.apply(connection, catalog, plain)
    filled = reference.keep_up(connection)
    for csv_type in ROLLUPS:
        rollup.update_rollup(connection, csv_type)
    rest = relations.Plan([], {n: a for n, a in plan.actions.items() if n not in plain.actions})
    relations.apply(connection, catalog, rest)
    return Migration(before, _revision(connection), plan.changes, plan.drops, filled)


def _needs_rollup(catalog: Catalog, name: str) -> bool:
    return any(
        other in catalog.relations and catalog.relations[other].materialized
        for other in {name, *catalog.upstream(name)}
    )


def _revision(connection: Connection) -> str | None:
    if connection.execute("SELECT to_regclass('log.mv_pipeline_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM log.mv_pipeline_version").fetchone()
    return str(row[0]) if row else None
