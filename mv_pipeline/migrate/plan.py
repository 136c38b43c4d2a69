"""What a migration would do, in order, with the locks that it takes; planned without touching anything.

The new tables and definitions are rehearsed in a transaction that is rolled back: what can't work is found before
anything is done. `migrate.migrate` executes the plan.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import psycopg
import sqlalchemy.exc
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import (
    Connection,
    Database,
    identifier,
    limit_waits,
    read_query,
    scalar,
)
from mv_pipeline.migrate import build, revise, roles, table_shapes
from mv_pipeline.migrate.adopt import compatibility, obsolete
from mv_pipeline.migrate.attributes import outdated_comments
from mv_pipeline.migrate.dependents import UnmanagedDependent, read_needs, read_unmanaged_dependents
from mv_pipeline.migrate.indexes import Index
from mv_pipeline.migrate.server import find_faults
from mv_pipeline.migrate.state import (
    Decision,
    changes,
    decide,
    describe_occupied,
    kind_of,
    read_existing,
)
from mv_pipeline.migrate.stored import obsolete_stored
from mv_pipeline.refresh.reference import CLOSURE_DAYS
from mv_pipeline.settings import OperatorError

# A table below this size is indexed within the transaction; its writers wait for less than a second.
_SMALL_BYTES = 64_000_000
_FIRST = "Nothing was changed, because this has to be fixed first:"


class MigrateError(OperatorError):
    """The database can't be brought to the wanted state; with problems, nothing was touched."""


@dataclass(frozen=True)
class Step:
    """One thing that a migration would do.

    Args:
        what: it does, to what.
        why: it is due.
        lock: that somebody may have to wait for, briefly, as PostgreSQL names it; on the relation that `what` names;
            empty: nobody waits.
    """

    what: str
    why: str
    lock: str = ""


@dataclass(frozen=True)
class Plan:
    """What a migration would do.

    Args:
        remarks: what is worth knowing, a sentence each.
        revision: the tables' revision before.
        indexes: missing indexes of small tables that exist.
        large_indexes: those of large ones.
        untracked: tables whose changes nobody logs yet.
        decisions: what becomes of each relation and why, in the catalogue's order.
        obsolete: relations to drop.
        kept: obsolete relations that stay, and why.
        functions: functions to drop.
        calendar_empty: the calendar and the holidays have to be filled.
        steps: in order; none: the database is up to date.
    """

    remarks: list[str]
    revision: str | None
    indexes: list[Index]
    large_indexes: list[Index]
    untracked: list[str]
    decisions: dict[str, Decision]
    obsolete: list[str]
    kept: dict[str, str]
    functions: list[str]
    calendar_empty: bool
    steps: list[Step] = field(default_factory=list)

    def rebuilt(self) -> list[str]:
        """The relations that are built, in order."""
        return [name for name, decision in self.decisions.items() if decision.builds]


def feeders(catalog: Catalog) -> set[str]:
    """The rollups, and what they and the reference tables are computed from; they come first."""
    names = {CLOSURE_DAYS, *(rollup.name for rollup in catalog.rollups)}
    return {name for start in names for name in (start, *catalog.upstream(start)) if name in catalog.relations}


def plan(database: Database, catalog: Catalog, *, with_roles: bool = False) -> Plan:
    """Say what `migrate` would do.

    Args:
        database: PostgreSQL 16 or later; nothing of what is rehearsed stays.
        with_roles: the roles are to be created and used.

    Raises:
        MigrateError: the pipeline can't work on the server, or something has to be changed first.
    """
    try:
        with revise.transaction(database, keep=False) as (connection, upgrade):
            return _read_plan(connection, upgrade, catalog, with_roles)
    except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
        raise MigrateError(f"Nothing was changed: {error}") from error


def _read_plan(connection: Connection, upgrade: Callable[[], None], catalog: Catalog, with_roles: bool) -> Plan:
    faults = find_faults(connection)
    if fatal := [str(fault) for fault in faults if fault.level == "fatal"]:
        raise MigrateError(_FIRST, tuple(fatal))
    limit_waits(connection, lock_timeout="2s")
    if roles.in_use(connection):
        roles.act_as_owner(connection)
    with connection.transaction(force_rollback=True):
        report = compatibility.read_report(connection)
    occupied = [describe_occupied(connection, view.name, view.made_as) for view in catalog.relations.values()]
    problems = [*report.incompatibilities, *filter(None, occupied)]
    steps = [*_role_steps(connection, catalog, with_roles)]
    steps += [Step(f"revision {due.revision}: {due.doc}", "not applied yet") for due in revise.due(connection)]
    revision = revise.current(connection)
    size = "SELECT pg_relation_size(%s::regclass)"
    large = [index for index in report.missing if scalar(connection, size, [index.table]) > _SMALL_BYTES]
    try:
        upgrade()
        table_shapes.create_tables(connection)
        # Known only when there are tables: a write to one of these fails.
        problems += [str(fault) for fault in find_faults(connection, roles.CHANGED) if fault not in faults]
        decisions = decide(catalog, read_existing(connection, catalog.relations.values()))
        candidates = obsolete.existing(connection, catalog)
        swapped = [name for name, decision in decisions.items() if decision.action == "swap"]
        kept = obsolete.needed_by(connection, candidates, swapped)
        found = Plan(
            remarks=[
                *map(str, faults),
                *report.remarks,
                *(f"{name} is obsolete but stays: {reason}." for name, reason in kept.items()),
            ],
            revision=revision,
            indexes=[index for index in report.missing if index not in large],
            large_indexes=large,
            untracked=table_shapes.untracked(connection),
            decisions=decisions,
            obsolete=[name for name in candidates if name not in kept],
            kept=kept,
            functions=obsolete.functions(connection),
            calendar_empty=scalar(connection, "SELECT NOT EXISTS (SELECT FROM ref.calendar_day)"),
        )
        wrong, blockers = _find_blockers(connection, catalog, found)
        # What is wrong with a table shows in the views that read it; the table's sentence is enough.
        problems += blockers if problems else [*wrong, *blockers]
    except (psycopg.Error, sqlalchemy.exc.DBAPIError):
        # An incompatibility can keep the rest from being planned.
        if not problems:
            raise
    if problems:
        raise MigrateError(_FIRST, tuple(problems))
    steps += [*_table_steps(report, found), *_view_steps(connection, catalog, found)]
    return replace(found, steps=steps)


def _role_steps(connection: Connection, catalog: Catalog, with_roles: bool) -> Iterator[Step]:
    if not (with_roles or roles.in_use(connection)):
        return
    why = "--roles" if with_roles else "the database uses the roles"
    for role in roles.missing(connection) if with_roles else []:
        yield Step(f"create the role {role}", why)
    for (_, name), role in roles.misowned(connection, catalog).items():
        yield Step(f"give {name} to {role}", why, "ACCESS EXCLUSIVE")
    granted, revoked = roles.compare_privileges(connection, catalog)
    if granted or revoked:
        yield Step(f"grant {len(granted)} privileges and revoke {len(revoked)}", why)


def _table_steps(report: compatibility.CompatibilityReport, plan: Plan) -> Iterator[Step]:
    yield from (Step(f"adopt the table {name}", "it exists and is compatible") for name in report.adopted)
    yield from (Step(f"create the table {name}", "it is missing") for name in report.created)
    for index in report.missing:
        what = "key" if index.unique else "index"
        columns = ", ".join(index.columns)
        how, lock = (" concurrently", "SHARE UPDATE EXCLUSIVE") if index in plan.large_indexes else ("", "SHARE")
        yield Step(f"add the {what} {index.name} ({columns}) to {index.table}{how}", "it is missing", lock)
    for name in plan.untracked:
        lock = "" if name in report.created else "SHARE ROW EXCLUSIVE"
        yield Step(f"add triggers to {name}", "its changes aren't logged; its rows count as changed", lock)


def _view_steps(connection: Connection, catalog: Catalog, plan: Plan) -> Iterator[Step]:
    if plan.calendar_empty:
        yield Step("fill the calendar and the holidays", "the calendar is empty")
    first = feeders(catalog)
    due = changes(plan.decisions)
    yield from (_view_step(catalog.relations[name], due[name]) for name in due if name in first)
    yield from (_view_step(catalog.relations[name], due[name]) for name in due if name not in first)
    kept = [relation for relation in catalog.relations.values() if relation.name not in due]
    for relation in outdated_comments(connection, kept):
        what = f"give the {relation.kind} {relation.name} its file's description as comment"
        yield Step(what, "its file's description has changed")
    for name in plan.obsolete:
        yield Step(f"drop {name}", "no file describes it any more", "ACCESS EXCLUSIVE")
    for stored, rollup in obsolete_stored(connection, catalog.rollups, tried=False).items():
        if rollup not in [*due, *plan.obsolete]:
            yield Step(f"drop {stored}", f"{rollup} stores its rows in another table", "ACCESS EXCLUSIVE")
    yield from (Step(f"drop the function {name}", "it is obsolete") for name in plan.functions)


def _view_step(relation: Relation, decision: Decision) -> Step:
    view = f"the {relation.kind} {relation.name}"
    if relation.kind == "rollup" and decision.builds:
        lock = "" if decision.action == "create" else "ACCESS EXCLUSIVE"
        return Step(f"fill {view} in parts, then put it in its place", decision.reason, lock)
    if decision.action == "swap":
        return Step(f"build {view} in a shadow schema and swap it in", decision.reason, "ACCESS EXCLUSIVE")
    return Step(f"{decision.action} {view}", decision.reason)


def _find_blockers(connection: Connection, catalog: Catalog, plan: Plan) -> tuple[list[str], list[str]]:
    """A sentence about each definition that can't be made, and about each object of others that blocks the swap."""
    made, wrong = build.rehearse(connection, catalog, plan.rebuilt())
    ours = [*catalog.relations, *plan.obsolete]
    replaced = [name for name in made if kind_of(connection, name)]
    unmanaged = read_unmanaged_dependents(connection, replaced, ours)
    others = [dependent.name for dependent in unmanaged]
    blockers = _owner_blockers(connection, [*replaced, *plan.obsolete, *plan.untracked, *others])
    with roles.as_caller(connection):
        for dependent in unmanaged:
            blockers += _unmanaged_blockers(connection, dependent, made)
    known = {*ours, *plan.kept, *others}
    blockers += [
        f"{what}, which isn't this project's, needs {name} and can't be pointed at a new one. "
        "Drop it first, and make it again afterwards."
        for name, what, is_view in read_needs(connection, replaced)
        if not (is_view and what in known)
    ]
    return [*wrong.values()], blockers


def _owner_blockers(connection: Connection, names: list[str]) -> list[str]:
    """A sentence about each owner of relations that whoever runs the migration isn't a member of."""
    rows = connection.execute(
        read_query(__file__, "others_relations"),
        [names],
    )
    user = connection.info.user
    return [
        f"{found} {'belongs' if count == 1 else 'belong'} to {owner}, and {user} may not act as it. "
        f"GRANT {owner} TO {user}, or run `mv-pipeline migrate` as another role."
        for owner, count, found in rows
    ]


def _unmanaged_blockers(connection: Connection, dependent: UnmanagedDependent, made: list[str]) -> list[str]:
    # A materialized view of others is built again, so what reads it has to find the same columns.
    whose = f"{dependent.name}, which isn't this project's,"
    way_out = "Change or drop it first."
    name = identifier(dependent.name).as_string(connection)
    changed_columns = connection.execute(
        read_query(__file__, "changed_columns"),
        {"names": made, "shadows": [*map(build.shadow_name, made)], "reader": name},
    ).fetchall()
    if changed_columns:
        return [
            f"{whose} reads {column} of {read}, which {change}. {way_out}" for read, column, change in changed_columns
        ]
    before = table_shapes.column_types(connection, name)
    try:
        with connection.transaction(force_rollback=True):
            query = sql.SQL(build.reading_shadows(dependent.query, made))
            connection.execute(sql.SQL("CREATE TEMP VIEW mv_pipeline_rehearsed AS {}").format(query))
            after = table_shapes.column_types(connection, "pg_temp.mv_pipeline_rehearsed")
    except psycopg.errors.ProgrammingError as error:
        return [f"{whose} couldn't read the new definition: {error.diag.message_primary}. {way_out}"]
    changed = [column for column, kind in before.items() if after.get(column) != kind]
    return [f"{whose} would get another type in {', '.join(changed)}. {way_out}"] if changed else []
