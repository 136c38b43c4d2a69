"""What a migration would do, in order, with the locks that it takes; planned without touching anything.

The new tables and definitions are rehearsed in a transaction that is rolled back: what can't work is found before
anything is done. `migrate.migrate` executes the plan.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import psycopg
import sqlalchemy.exc
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.tables import ROLLUPS, SOURCES
from mv_pipeline.database.connection import Connection, Database, identifier, limit_waits, scalar
from mv_pipeline.migrate import build, revise, roles, tables
from mv_pipeline.migrate.adopt import compatibility, obsolete
from mv_pipeline.migrate.attributes import outdated_comments
from mv_pipeline.migrate.dependents import read_needs, read_unmanaged_dependents
from mv_pipeline.migrate.indexes import Index
from mv_pipeline.migrate.state import KINDS, Decision, changes, kind_of, read_decisions
from mv_pipeline.refresh.reference import CLOSURE_DAYS

# A lock's name, as PostgreSQL documents it; nobody waits where there is none.
_NONE = ""
_SWAP = "ACCESS EXCLUSIVE"
# A table below this size is indexed within the transaction; its writers wait for less than a second.
_SMALL_BYTES = 64_000_000


@dataclass(frozen=True)
class Step:
    """One thing that a migration would do.

    Args:
        what: it does, to what.
        why: it is due.
        lock: that somebody may have to wait for, briefly; on the relation that `what` names; empty: nobody waits.
    """

    what: str
    why: str
    lock: str


@dataclass(frozen=True)
class Plan:
    """What a migration would do.

    Args:
        steps: in order; none: the database is up to date.
        remarks: what is worth knowing, a sentence each.
        problems: what has to be changed first, a sentence each.
        revision: the tables' revision before.
        indexes: missing indexes of tables that exist.
        untracked: tables whose changes nobody notes yet.
        decisions: what becomes of each relation and why, in the catalogue's order.
        obsolete: relations to drop.
        kept: obsolete relations that stay, and why.
        functions: functions to drop.
    """

    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    revision: str | None = None
    indexes: list[Index] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    obsolete: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)

    def rebuilt(self) -> list[str]:
        """The relations that are built, in order."""
        return [name for name, decision in self.decisions.items() if decision.builds]


def is_small(connection: Connection, table: str) -> bool:
    """True if a table is so small that its writers can wait while it is indexed."""
    return bool(scalar(connection, "SELECT pg_relation_size(%s::regclass) < %s", [table, _SMALL_BYTES]))


def feeders(catalog: Catalog) -> set[str]:
    """The relations that the rollup and the reference tables are computed from; they have to stand first."""
    names = {CLOSURE_DAYS, *(source.active for source in SOURCES)}
    return {name for start in names for name in (start, *catalog.upstream(start)) if name in catalog.relations}


def read_plan(database: Database, catalog: Catalog, *, with_roles: bool = False) -> Plan:
    """Read a database and plan what a migration would do.

    Args:
        database: the plant's; nothing of what is rehearsed stays.
        catalog: the relations to have.
        with_roles: the roles are to be created and used.
    """
    with revise.transaction(database, keep=False) as bound:
        connection = bound.connection
        limit_waits(connection, lock_timeout="2s")
        if roles.in_use(connection):
            roles.act_as_owner(connection)
        plan = Plan(revision=revise.current(connection))
        with connection.transaction(force_rollback=True):
            report = compatibility.read_report(connection)
        plan.remarks.extend(report.remarks)
        plan.problems.extend([*report.incompatibilities, *_occupied(connection, catalog)])
        steps = [*_role_steps(connection, catalog, with_roles=with_roles), *_revision_steps(connection)]
        small = {index.table: is_small(connection, index.table) for index in report.missing}
        try:
            bound.upgrade()
            tables.create_tables(connection)
            plan = _look_at_views(connection, catalog, plan, report.missing)
        except (psycopg.Error, sqlalchemy.exc.DBAPIError):
            # An incompatibility can keep the rest from being planned.
            if plan.problems:
                return plan
            raise
        steps += [*_table_steps(report, small, plan.untracked), *_view_steps(connection, catalog, plan)]
        return replace(plan, steps=steps)


def _look_at_views(connection: Connection, catalog: Catalog, plan: Plan, indexes: list[Index]) -> Plan:
    decisions = read_decisions(connection, catalog)
    old = obsolete.standing(connection, catalog)
    swapped = [name for name, decision in decisions.items() if decision.action == "swap"]
    kept = obsolete.needed_by(connection, old, swapped)
    plan = replace(
        plan,
        indexes=indexes,
        untracked=tables.untracked(connection),
        decisions=decisions,
        obsolete=[name for name in old if name not in kept],
        kept=kept,
        functions=obsolete.functions(connection),
    )
    wrong, blockers = find_blockers(
        connection, catalog, plan.rebuilt(), plan.untracked, plan.obsolete, plan.kept.keys()
    )
    # What is wrong with a table shows in the views that read it; the table's sentence is enough.
    plan.problems.extend(blockers if plan.problems else [*wrong, *blockers])
    plan.remarks.extend(f"{name} is obsolete but stays: {reason}." for name, reason in kept.items())
    return plan


def _occupied(connection: Connection, catalog: Catalog) -> list[str]:
    rows = connection.execute(
        "SELECT name, relkind::text FROM unnest(%s::text[]) AS name JOIN pg_class AS c ON c.oid = to_regclass(name)",
        [list(catalog.relations)],
    )
    return [
        f"{name} is a {KINDS.get(kind, 'relation of another kind')}. "
        f"Rename it: a {catalog.relations[name].kind} of this name is needed."
        for name, kind in rows
        if KINDS.get(kind) != catalog.relations[name].kind
    ]


def _role_steps(connection: Connection, catalog: Catalog, *, with_roles: bool) -> Iterator[Step]:
    if not (with_roles or roles.in_use(connection)):
        return
    why = "--roles" if with_roles else "the database uses the roles"
    for role in roles.missing(connection) if with_roles else []:
        yield Step(f"create the role {role}", why, _NONE)
    for name, role in roles.misowned(connection, catalog).items():
        yield Step(f"give {name} to {role}", why, "ACCESS EXCLUSIVE")
    granted, revoked = roles.compare_privileges(connection, catalog)
    if granted or revoked:
        yield Step(f"grant {len(granted)} privileges and revoke {len(revoked)}", why, _NONE)


def _revision_steps(connection: Connection) -> Iterator[Step]:
    for revision in revise.due(connection):
        yield Step(f"revision {revision.number}: {revision.title}", "not applied yet", _NONE)


def _table_steps(
    report: compatibility.CompatibilityReport, small: Mapping[str, bool], untracked: Iterable[str]
) -> Iterator[Step]:
    yield from (Step(f"adopt the table {name}", "it stands and fits", _NONE) for name in report.adopted)
    yield from (Step(f"create the table {name}", "it is missing", _NONE) for name in report.created)
    for index in report.missing:
        what, columns = "key" if index.unique else "index", ", ".join(index.columns)
        how, lock = ("", "SHARE") if small[index.table] else (" concurrently", "SHARE UPDATE EXCLUSIVE")
        yield Step(f"add the {what} {index.name} ({columns}) to {index.table}{how}", "it is missing", lock)
    for name in untracked:
        yield Step(
            f"add triggers to {name}",
            "its changes aren't noted; its rows count as changed",
            _NONE if name in report.created else "SHARE ROW EXCLUSIVE",
        )


def _view_steps(connection: Connection, catalog: Catalog, plan: Plan) -> Iterator[Step]:
    if scalar(connection, "SELECT NOT EXISTS (SELECT FROM ref.calendar_day)"):
        yield Step("fill the calendar and the holidays", "the calendar is empty", _NONE)
    first = feeders(catalog)
    due = changes(plan.decisions)
    yield from (_view_step(catalog.relations[name], due[name]) for name in due if name in first)
    for csv_type, table in ROLLUPS.items():
        noted = [source.table for source in SOURCES if source.csv_type == csv_type and source.table in plan.untracked]
        if noted:
            yield Step(f"fill {table.name}", f"the rows of {', '.join(noted)} aren't rolled up", _NONE)
    yield from (_view_step(catalog.relations[name], due[name]) for name in due if name not in first)
    kept = [relation for relation in catalog.relations.values() if relation.name not in due]
    for relation in outdated_comments(connection, kept):
        what = f"give the {relation.kind} {relation.name} its file's description as comment"
        yield Step(what, "its file's description has changed", _NONE)
    for name in plan.obsolete:
        yield Step(f"drop {name}", "no file describes it any more", "ACCESS EXCLUSIVE")
    yield from (Step(f"drop the function {name}", "it is obsolete", _NONE) for name in plan.functions)


def _view_step(relation: Relation, decision: Decision) -> Step:
    view = f"the {relation.kind} {relation.name}"
    if decision.action == "swap":
        return Step(f"build {view} in a shadow schema and swap it in", decision.reason, _SWAP)
    return Step(f"{decision.action} {view}", decision.reason, _NONE)


def find_blockers(
    connection: Connection,
    catalog: Catalog,
    names: list[str],
    changed_tables: Collection[str],
    going: Collection[str],
    staying: Collection[str],
) -> tuple[list[str], list[str]]:
    """Find what would keep relations from being built and swapped.

    Args:
        connection: in a transaction that the caller rolls back.
        catalog: the relations.
        names: of those to build, in the catalogue's order.
        changed_tables: tables that get triggers.
        going: obsolete relations that are dropped.
        staying: obsolete relations that something still needs.

    Returns:
        A sentence about each definition that can't be made, and about each object of others that blocks the swap.
    """
    made, wrong = build.rehearse(connection, catalog, names)
    ours = [*catalog.relations, *going]
    standing = [name for name in made if kind_of(connection, name)]
    unmanaged = read_unmanaged_dependents(connection, standing, ours)
    # A materialized view of others is built again, so what reads it has to find the same columns.
    definitions = {view.name: view.definition for view in unmanaged.views}
    definitions |= {view.name: view.query for view in unmanaged.materialized_views}
    found = _unreachable(connection, [*standing, *going, *changed_tables, *definitions])
    with roles.as_caller(connection):
        for name, definition in definitions.items():
            found += _unmanaged_blockers(connection, name, definition, made)
    return [*wrong.values()], found + _immovable(connection, standing, [*ours, *staying, *definitions])


def _unreachable(connection: Connection, names: list[str]) -> list[str]:
    user = connection.info.user
    return [
        f"{', '.join(found)} {'belongs' if len(found) == 1 else 'belong'} to {owner}, and {user} may not act as it. "
        f"GRANT {owner} TO {user}, or run `mv-pipeline migrate` as another role."
        for owner, found in roles.unreachable_owners(connection, names).items()
    ]


def _unmanaged_blockers(connection: Connection, name: str, definition: str, made: Mapping[str, str]) -> list[str]:
    whose, way_out = f"{name}, which isn't this project's,", "Change or drop it first."
    lost = [
        f"{whose} reads {column} of {read}, which {'gets another type' if column in new else 'goes'}. {way_out}"
        for read, column, kind in _columns_read(connection, name, made)
        for new in [build.columns(connection, made[read])]
        if new.get(column) != kind
    ]
    if lost:
        return lost
    before = build.columns(connection, identifier(name).as_string(connection))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL("CREATE TEMP VIEW mv_pipeline_side AS {}").format(sql.SQL(build.reading(definition, made)))
            )
            after = build.columns(connection, "pg_temp.mv_pipeline_side")
    except psycopg.errors.ProgrammingError as error:
        return [f"{whose} couldn't read the new definition: {error.diag.message_primary}. {way_out}"]
    changed = [column for column, kind in before.items() if after.get(column) != kind]
    return [f"{whose} would get another type in {', '.join(changed)}. {way_out}"] if changed else []


def _columns_read(connection: Connection, name: str, made: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The columns of relations that are to be swapped which a view reads, with their types."""
    rows = connection.execute(
        "SELECT DISTINCT n.nspname || '.' || c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod) "
        "FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid "
        "AND d.refclassid = 'pg_class'::regclass JOIN pg_class AS c ON c.oid = d.refobjid "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND a.attnum > 0 "
        "WHERE r.ev_class = %s::regclass AND n.nspname || '.' || c.relname = ANY (%s) ORDER BY 1, 2",
        [identifier(name).as_string(connection), list(made)],
    )
    return [tuple(row) for row in rows]


def _immovable(connection: Connection, standing: Collection[str], known: Collection[str]) -> list[str]:
    """What needs a relation that is to be swapped and can't be pointed at another one."""
    return [
        f"{what}, which isn't this project's, needs {name} and can't be pointed at a new one. "
        "Drop it first, and make it again afterwards."
        for name, what, is_view in read_needs(connection, standing)
        if not (is_view and what in known)
    ]
