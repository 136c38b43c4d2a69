"""What there is: the views and materialized views, what their headers say, and how they depend on each other.

A name that begins with `mv_` is a materialized view. What a relation depends on is read from its SQL. Most relations
have a file, which `sql_file` reads; the views of active rows and of counted sources are made from the CSV kinds.
"""

import graphlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Literal

import sqlglot
from pydantic import AfterValidator, Field
from sqlglot import exp

from mv_pipeline.catalog.csv_kinds import KINDS, Entry, FileKind
from mv_pipeline.catalog.tables import ROLLUPS, sources_of

RelationKind = Literal["view", "materialized view"]


class HeaderCheck(Entry):
    """A check that a header states in SQL: it passes if the query returns no row."""

    description: str
    sql: str


class Balance(Entry):
    """Which column of a daily view holds the tons of which list; compared with the staging tables."""

    csv_type: str
    tons: str


class Anomaly(Entry):
    """Which days a profile's means and deviations were made of; yesterday is compared with them.

    The profile has the columns ave, sigma, n and quality; the days have ddate and the columns of its key.
    """

    days: str
    tons: str
    where: str


def _owner(value: str) -> str:
    # The graph refuses to load with any other owner.
    if not re.fullmatch(r"team:\S+|[\w.%+-]+@[\w.-]+\.[A-Za-z]{2,7}", value, re.ASCII):
        raise ValueError("a team, as in team:data-platform, or a mail address is needed")
    return value


class Header(Entry):
    """What a SQL file says of its relation.

    All but `description`, `description_en` and `owner` are for materialized views.

    Args:
        days: the view has exactly one row for each of these days; its key is the day.
        equals: a relation with the same columns that must hold the same rows.
        picture: the picture on the view's page; a file of `pictures`.
        reads_lines: why the view reads single lines instead of the rollup.
    """

    description: str
    description_en: str
    owner: Annotated[str, AfterValidator(_owner)]
    key: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    criticality: Literal["critical", "optional"] | None = None
    days: Literal["calendar", "until_yesterday"] | None = None
    equals: str | None = None
    balance: Balance | None = None
    anomaly: Anomaly | None = None
    picture: str | None = None
    reads_lines: str | None = None
    checks: dict[str, HeaderCheck] = Field(default_factory=dict)

    @property
    def comment(self) -> str:
        """The relation's comment in the database."""
        return f"{self.description}\n{self.description_en}"


class Dashboard(Entry):
    """Something that people look at, or that computes on, at the end of the graph."""

    title: str
    description: str
    description_en: str
    owner: str
    reads: tuple[str, ...]


@cache
def parse_query(query: str) -> exp.Query | None:
    """Parse a SELECT, each text once; None if it is not exactly one SELECT.

    Raises:
        SqlglotError: the text can't be parsed.
    """
    statements = sqlglot.parse(query, dialect="postgres")
    return statements[0] if len(statements) == 1 and isinstance(statements[0], exp.Query) else None


@dataclass(frozen=True)
class Relation:
    """One view or materialized view.

    Args:
        name: schema and name.
        header: what the file says of it.
        query: the SELECT that defines it.
        line: the line of its file on which the SELECT begins.
    """

    name: str
    header: Header
    query: str
    line: int = 1

    @property
    def schema(self) -> str:
        """The schema's name."""
        return self.name.split(".")[0]

    @property
    def table(self) -> str:
        """The name without the schema."""
        return self.name.split(".")[1]

    @property
    def kind(self) -> RelationKind:
        """`materialized view` if the name begins with `mv_`, else `view`."""
        return "materialized view" if self.table.startswith("mv_") else "view"

    @property
    def materialized(self) -> bool:
        """True for a materialized view."""
        return self.kind == "materialized view"

    @property
    def tree(self) -> exp.Query:
        """The SELECT, parsed."""
        tree = parse_query(self.query)
        assert tree is not None, f"{self.name} is made of one SELECT"
        return tree

    @cached_property
    def tables(self) -> list[exp.Table]:
        """What the SELECT reads, also without schema; its own CTEs and functions are not among them."""
        with_names = {cte.alias for cte in self.tree.find_all(exp.CTE)}
        return [
            table
            for table in self.tree.find_all(exp.Table)
            if isinstance(table.this, exp.Identifier) and (table.db or table.name not in with_names)
        ]

    @cached_property
    def dependencies(self) -> frozenset[str]:
        """The relations that the SELECT reads, as `schema.name`."""
        return frozenset(f"{table.db}.{table.name}" for table in self.tables if table.db)

    @property
    def output(self) -> list[str]:
        """The names of the SELECT's columns; none if a star hides them."""
        return [] if self.tree.is_star else self.tree.named_selects

    @property
    def reads_business_date(self) -> bool:
        """True if the SELECT calls ref.business_date() itself."""
        return any(call.name.lower() == "business_date" for call in self.tree.find_all(exp.Anonymous))

    @cached_property
    def definition_hash(self) -> str:
        """A hash of what the database holds of this file: its SELECT without comments or blanks, key and indexes."""
        normalised = self.tree.sql(dialect="postgres", comments=False)
        parts = [self.kind, normalised, repr(self.header.key), repr(self.header.indexes)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def active_view(kind: FileKind) -> Relation:
    """The view of a kind's rows that are not deleted (spec: Staging, `stg.v_active_<kind>`)."""
    columns = ", ".join(column.name for column in kind.columns)
    return _made(
        f"stg.v_active_{kind.name}",
        f"{kind.title}の有効な行（論理削除されていない行）。",
        f"The rows of stg.{kind.name} that are not deleted.",
        f"SELECT id, {columns}, upload_file_id, source_row_no, is_deleted, deleted_at, created_at "
        f"FROM stg.{kind.name} WHERE NOT is_deleted",
    )


def source_view(csv_type: str) -> Relation:
    """The view that picks, for each day of a list, the one source that counts (spec: mart.mv_receive_daily)."""
    return _made(
        f"mart.v_{csv_type}_source",
        "日ごとに採用するデータ源（最終→速報→king の順で1つ）。",
        f"Per day the one source of {csv_type} lines that counts: final, else flash, else king.",
        "SELECT DISTINCT ON (ddate) ddate, source, line_count, slip_count, net_weight_kg, amount_yen, changed_at "
        f"FROM {ROLLUPS[csv_type].name} ORDER BY ddate, priority",
    )


def _made(name: str, description: str, description_en: str, query: str) -> Relation:
    header = Header(description=description, description_en=description_en, owner="team:data-platform")
    return Relation(name, header, query)


@cache
def made_relations() -> tuple[Relation, ...]:
    """The views that have no file: they are made from the CSV kinds."""
    return (*(active_view(kind) for kind in KINDS), *(source_view(csv_type) for csv_type in ROLLUPS))


class Catalog:
    """All relations, each after what it reads; so are `materialized_views` and `views`.

    Args:
        relations: every view and materialized view.
        dashboards: what reads them, by name.

    Raises:
        graphlib.CycleError: relations read each other in a circle.
    """

    def __init__(self, relations: Iterable[Relation], dashboards: Mapping[str, Dashboard] | None = None) -> None:
        self.dashboards = dashboards or {}
        by_name = {relation.name: relation for relation in relations}
        self._inputs = {
            table.name: frozenset(source.active for source in sources_of(csv_type))
            for csv_type, table in ROLLUPS.items()
        }
        self._inputs |= {name: by_name[name].dependencies for name in sorted(by_name)}
        # Worked out once: asked for often, and walking the graph each time grows with its square.
        self._upstream: dict[str, frozenset[str]] = {}
        for name in graphlib.TopologicalSorter(self._inputs).static_order():
            direct = self.inputs(name)
            self._upstream[name] = direct.union(*(self._upstream[other] for other in direct))
        self.relations: dict[str, Relation] = {name: by_name[name] for name in self._upstream if name in by_name}
        self.materialized_views = [relation for relation in self.relations.values() if relation.materialized]
        self.views = [relation for relation in self.relations.values() if not relation.materialized]

    def inputs(self, name: str) -> frozenset[str]:
        """What a relation or a rollup table reads directly; nothing for any other table."""
        return self._inputs.get(name, frozenset())

    def upstream(self, name: str) -> frozenset[str]:
        """Everything that a relation reads, directly or through others; tables included."""
        return self._upstream.get(name, frozenset())

    def downstream(self, name: str) -> list[str]:
        """The views and materialized views that read a relation or table, directly or through others, in order."""
        return [other for other in self.relations if name in self.upstream(other)]

    def reads_business_date(self, name: str) -> bool:
        """True if the relation's rows depend on today's date, directly or through what it reads."""
        return any(
            other in self.relations and self.relations[other].reads_business_date
            for other in (name, *self.upstream(name))
        )
