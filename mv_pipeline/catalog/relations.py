"""What there is: views, materialized views and rollups, what their headers say, and how they depend on each other.

A name that begins with `mv_` is a materialized view, one that begins with `rollup_` a rollup. What a relation depends
on is read from its SQL. Most relations have a file, which `sql_file` reads; the kinds' views of active rows, their
rollups and the views of counted sources are made from the CSV kinds.
"""

import graphlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, Literal, cast

import sqlglot
from pydantic import AfterValidator, Field
from sqlglot import exp

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList, Entry, FileKind
from mv_pipeline.catalog.day import changed_days
from mv_pipeline.catalog.realtime import CHANGED_AT, news_query, realtime_query
from mv_pipeline.catalog.tables import TRACKED

SOURCE_DAYS = "mart.v_source_days"
RelationKind = Literal["view", "materialized view", "rollup"]


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


class ListSource(Entry):
    """Of which list's days a rollup is a source: the one of the lowest priority that has rows counts, whole.

    The rollup has the columns ddate, line_count, slip_count, net_weight_kg and amount_yen.

    Args:
        csv_type: the list.
        source: the value that `source_system` columns show.
        priority: among the list's sources.
    """

    csv_type: str
    source: str
    priority: int


def _owner(value: str) -> str:
    # The graph refuses to load with any other owner.
    if not re.fullmatch(r"team:\S+|[\w.%+-]+@[\w.-]+\.[A-Za-z]{2,7}", value, re.ASCII):
        raise ValueError("a team, as in team:data-platform, or a mail address is needed")
    return value


class Header(Entry):
    """What a SQL file says of its relation.

    All but `description`, `description_en` and `owner` are for materialized views; a rollup has `key`, `indexes`, `day`
    and `source_of`.

    Args:
        day: of a rollup, the column of its key that is the day.
        source_of: the list whose days it is a source of.
        days: the view has exactly one row for each of these days; its key is the day.
        equals: a relation with the same columns that must hold the same rows.
        picture: the picture on the view's page; a file of `pictures`.
        reads_lines: why the view reads single lines instead of rollups.
    """

    description: str
    description_en: str
    owner: Annotated[str, AfterValidator(_owner)]
    key: tuple[str, ...] = ()
    day: str | None = None
    source_of: ListSource | None = None
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
        """`materialized view` if the name begins with `mv_`, `rollup` if it begins with `rollup_`, else `view`."""
        if self.table.startswith("rollup_"):
            return "rollup"
        return "materialized view" if self.table.startswith("mv_") else "view"

    @property
    def made_as(self) -> Literal["view", "materialized view"]:
        """What the database has under its name; of a rollup, that is its real-time view."""
        return "materialized view" if self.materialized else "view"

    @property
    def definition(self) -> str:
        """The SELECT that the database has under its name."""
        return self.query

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
        parts = [self.kind, _normalised(self.tree), repr(self.header.key), repr(self.header.indexes)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Rollup(Relation):
    """A relation whose rows are stored by day, and computed anew for the days that change.

    Args:
        relations: all relations, by name.
    """

    relations: Mapping[str, Relation] = field(default_factory=dict, repr=False, compare=False)

    @property
    def day(self) -> str:
        """The column that is the day."""
        assert self.header.day, f"{self.name} has a day"
        return self.header.day

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row, the day first."""
        return (self.day, *(column for column in self.header.key if column != self.day))

    @cached_property
    def _below(self) -> list[Relation]:
        """The relations that it reads, directly or through others, each once."""
        found = {self.name: cast(Relation, self)}
        for relation in (waiting := [*found.values()]):
            new = {name: self.relations[name] for name in sorted(relation.dependencies) if name in self.relations}
            waiting += [other for name, other in new.items() if name not in found]
            found |= new
        return waiting[1:]

    @cached_property
    def changed_days(self) -> dict[str, str | None]:
        """Which of its days a change in a table concerns (see `catalog.day`).

        Raises:
            DayError: its day doesn't come from the day of a tracked table.
        """
        return changed_days(self.tree, self.day, {view.name: view.tree for view in self._below}, TRACKED)

    @cached_property
    def stored(self) -> str:
        """The table that stores its rows; another one for each definition of it and of the views that it reads."""
        definitions = [_normalised(relation.tree) for relation in (self, *self._below)]
        parts = "\0".join([self.name, repr(self.key), repr(self.header.indexes), *definitions])
        return f"rollup.{self.table}_{hashlib.sha256(parts.encode()).hexdigest()[:8]}"

    @property
    def news(self) -> str:
        """The query for what its stored rows haven't seen (see `news_query`)."""
        return news_query(self.stored, self.changed_days)

    @property
    def definition(self) -> str:
        """The SELECT of its real-time view."""
        return self._realtime(self.query)

    @cached_property
    def definition_hash(self) -> str:
        """A hash of what the database holds of this file and of the views that it reads."""
        return hashlib.sha256(self._realtime(_normalised(self.tree)).encode()).hexdigest()

    def _realtime(self, query: str) -> str:
        return realtime_query(query, self.output, self.key, self.day, self.stored, self.news)


def _normalised(tree: exp.Query) -> str:
    return tree.sql(dialect="postgres", comments=False)


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


def kind_rollup(kind: FileKind) -> Relation:
    """The rollup of a kind's active rows by day (spec: Staging to views)."""
    return _made(
        f"mart.rollup_{kind.name}",
        f"{kind.title}の日別集計（有効な行、1日1行、丸めなし）。",
        f"The active rows of stg.{kind.name} per day, unrounded.",
        f"SELECT slip_date AS ddate, count(*) AS line_count, count(DISTINCT {kind.list.slip_number}) AS slip_count, "
        "coalesce(sum(net_weight), 0) AS net_weight_kg, coalesce(sum(amount), 0) AS amount_yen "
        f"FROM stg.v_active_{kind.name} GROUP BY slip_date",
        key=("ddate",),
        day="ddate",
        source_of=ListSource(csv_type=kind.list.csv_type, source=kind.source, priority=kind.priority),
    )


def source_view(csv_list: CsvList, rollups: Iterable[Relation]) -> Relation:
    """The view that picks, for each day of a list, the one source that counts (spec: mart.mv_receive_daily)."""
    csv_type = csv_list.csv_type
    return _made(
        csv_list.source_view,
        "日ごとに採用するデータ源（最終→速報→king の順で1つ）。",
        f"Per day the one source of {csv_type} lines that counts: final, else flash, else king.",
        f"SELECT DISTINCT ON (ddate) ddate, source, line_count, slip_count, net_weight_kg, amount_yen, {CHANGED_AT} "
        f"FROM ({_source_days(one for one in rollups if _csv_type(one) == csv_type)}) AS days ORDER BY ddate, priority",
    )


def source_days_view(rollups: Iterable[Relation]) -> Relation:
    """The view of every source's days, whether the source counts or not."""
    return _made(
        SOURCE_DAYS,
        "リスト・データ源・日ごとの集計（採用されないデータ源も含みます）。",
        "Per list, source and day what the rollups hold, whether the source counts or not.",
        _source_days(one for one in rollups if _csv_type(one)),
    )


def _source_days(rollups: Iterable[Relation]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{of.csv_type}'::text AS csv_type, '{of.source}'::text AS source, {of.priority} AS priority, ddate, "
        f"line_count, slip_count, net_weight_kg, amount_yen, {CHANGED_AT} FROM {rollup.name}"
        for rollup in rollups
        if (of := rollup.header.source_of)
    )


def _csv_type(rollup: Relation) -> str | None:
    return rollup.header.source_of.csv_type if rollup.header.source_of else None


def _made(name: str, description: str, description_en: str, query: str, **more: Any) -> Relation:
    header = Header(description=description, description_en=description_en, owner="team:data-platform", **more)
    return Relation(name, header, query)


def made_relations(written: Iterable[Relation] = ()) -> list[Relation]:
    """The relations that have no file: they are made from the CSV kinds.

    Args:
        written: those that have one; rollups among them may be sources of lists.
    """
    made = [make(kind) for kind in KINDS for make in (active_view, kind_rollup)]
    rollups = [*made, *written]
    return [*made, *(source_view(csv_list, rollups) for csv_list in LISTS), source_days_view(rollups)]


class Catalog:
    """All relations, each after what it reads; so are `materialized_views`, `rollups` and `views`.

    Args:
        relations: every view, materialized view and rollup.
        dashboards: what reads them, by name.

    Raises:
        graphlib.CycleError: relations read each other in a circle.
    """

    def __init__(self, relations: Iterable[Relation], dashboards: Mapping[str, Dashboard] | None = None) -> None:
        self.dashboards = dashboards or {}
        by_name = {relation.name: relation for relation in relations}
        for name, one in by_name.items():
            if one.kind == "rollup":
                by_name[name] = Rollup(one.name, one.header, one.query, one.line, by_name)
        self._inputs = {name: by_name[name].dependencies for name in sorted(by_name)}
        # Worked out once: asked for often, and walking the graph each time grows with its square.
        self._upstream: dict[str, frozenset[str]] = {}
        for name in graphlib.TopologicalSorter(self._inputs).static_order():
            direct = self.inputs(name)
            self._upstream[name] = direct.union(*(self._upstream[other] for other in direct))
        self.relations: dict[str, Relation] = {name: by_name[name] for name in self._upstream if name in by_name}
        self.materialized_views = [relation for relation in self.relations.values() if relation.materialized]
        self.views = [relation for relation in self.relations.values() if relation.kind == "view"]
        self.rollups = [relation for relation in self.relations.values() if isinstance(relation, Rollup)]

    def inputs(self, name: str) -> frozenset[str]:
        """What a relation reads directly; nothing for a table."""
        return self._inputs.get(name, frozenset())

    def upstream(self, name: str) -> frozenset[str]:
        """Everything that a relation reads, directly or through others; tables included."""
        return self._upstream.get(name, frozenset())

    def downstream(self, name: str) -> list[str]:
        """The relations that read a relation or table, directly or through others, in order."""
        return [other for other in self.relations if name in self.upstream(other)]

    def sources(self, csv_type: str) -> list[Rollup]:
        """The rollups that are sources of a list's days."""
        return [rollup for rollup in self.rollups if _csv_type(rollup) == csv_type]

    def reads_business_date(self, name: str) -> bool:
        """True if the relation's rows depend on today's date, directly or through what it reads."""
        return any(
            other in self.relations and self.relations[other].reads_business_date
            for other in (name, *self.upstream(name))
        )
