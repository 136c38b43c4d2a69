"""What others have made of our relations: their views and materialized views that read them.

A plain view of theirs is pointed at the relation that takes a place; a materialized one has to be built again with
it, since PostgreSQL can't point it elsewhere. How they are refreshed stays theirs.
"""

from collections.abc import Collection
from dataclasses import dataclass

from mv_pipeline.catalog.relations import Header, Relation
from mv_pipeline.database.connection import Connection

_THEIRS = Header(description="", description_en="", owner="team:others")


@dataclass(frozen=True)
class UnmanagedView:
    """A plain view of others: its name, its owner, and its definition as PostgreSQL prints it."""

    name: str
    owner: str
    definition: str


@dataclass(frozen=True)
class UnmanagedMaterializedView(Relation):
    """A materialized view of others, to be built again as they have defined it.

    Args:
        filled: it has rows; without, it is made without.
    """

    filled: bool = True

    @property
    def materialized(self) -> bool:
        """Whatever its name."""
        return True


@dataclass(frozen=True)
class UnmanagedDependents:
    """What others have made that reads some relations directly, or a materialized view of theirs that does."""

    views: list[UnmanagedView]
    materialized_views: list[UnmanagedMaterializedView]


def read_unmanaged_dependents(
    connection: Connection, names: Collection[str], ours: Collection[str]
) -> UnmanagedDependents:
    """Find what of others reads relations.

    Args:
        connection: to the plant's database.
        names: the relations.
        ours: what isn't others'.
    """
    read = [*names]
    while True:
        rows = _read_readers(connection, read, ours)
        theirs = {name for name, kind, *_ in rows if kind == "m"}
        if theirs <= {*read}:
            break
        read += sorted(theirs - {*read})
    return UnmanagedDependents(
        [UnmanagedView(name, owner, text) for name, kind, owner, text, _ in rows if kind == "v"],
        [
            UnmanagedMaterializedView(name, _THEIRS, text, filled=filled)
            for name, kind, _, text, filled in rows
            if kind == "m"
        ],
    )


def _read_readers(
    connection: Connection, names: Collection[str], ours: Collection[str]
) -> list[tuple[str, str, str, str, bool]]:
    with connection.transaction(force_rollback=True):
        # So that every name is printed with its schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        rows = connection.execute(
            "SELECT n.nspname || '.' || c.relname, c.relkind::text, c.relowner::regrole::text, "
            "rtrim(pg_get_viewdef(c.oid), ';'), c.relispopulated "
            "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('v', 'm') AND n.nspname || '.' || c.relname <> ALL (%s) AND EXISTS ("
            "SELECT FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid "
            "JOIN pg_class AS read ON d.refclassid = 'pg_class'::regclass AND read.oid = d.refobjid "
            "JOIN pg_namespace AS rn ON rn.oid = read.relnamespace "
            "WHERE r.ev_class = c.oid AND read.oid <> c.oid AND rn.nspname || '.' || read.relname = ANY (%s)) "
            # Nothing can read what was made after it, so each stands behind what it reads.
            "ORDER BY c.oid",
            [list(ours), list(names)],
        )
        return [tuple(row) for row in rows.fetchall()]


def read_needs(connection: Connection, names: Collection[str]) -> list[tuple[str, str, bool]]:
    """What needs relations, or their row types, so that they can't be dropped.

    Args:
        connection: to the plant's database.
        names: the relations.

    Returns:
        For each need the relation, what needs it, and whether that is a view or materialized view, named as
        `schema.name`; anything else as PostgreSQL describes it.
    """
    rows = connection.execute(
        "SELECT DISTINCT n.nspname || '.' || c.relname, CASE WHEN r.oid IS NULL "
        "THEN pg_describe_object(d.classid, d.objid, d.objsubid) ELSE rn.nspname || '.' || reader.relname END, "
        "r.oid IS NOT NULL FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_type AS t ON t.oid = c.reltype "
        "JOIN pg_depend AS d ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) "
        "OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)) "
        "LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid "
        "LEFT JOIN pg_class AS reader ON reader.oid = r.ev_class "
        "LEFT JOIN pg_namespace AS rn ON rn.oid = reader.relnamespace "
        "WHERE n.nspname || '.' || c.relname = ANY (%s) AND d.deptype = 'n' "
        "AND reader.oid IS DISTINCT FROM c.oid ORDER BY 1, 2",
        [list(names)],
    )
    return [tuple(row) for row in rows]
