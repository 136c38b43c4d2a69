"""The views and materialized views: one SQL file each, read into a `Relation`.

A file is a header (YAML in the first comment) and a SELECT. Its name is `<schema>/<name>.sql`; a name that
begins with `mv_` is a materialized view. What it depends on is read from its SQL. The views of active rows
and of counted sources are made from the CSV kinds in the same form. Nothing here opens a connection.
"""

import graphlib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import sqlglot
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import traverse_scope

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.catalog.dashboards import Dashboard, read_dashboards
from mv_pipeline.catalog.sources import SOURCES
from mv_pipeline.catalog.tables import ROLLUPS, TABLES
from mv_pipeline.settings import OperatorError

RelationKind = Literal["view", "materialized view"]


class RelationError(OperatorError):
    """A SQL file can't be used; the message names the file and says what to change."""


class HeaderCheck(BaseModel):
    """A check that a header states in SQL: it passes if the query returns no row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    sql: str


class Balance(BaseModel):
    """Which column of a daily view holds the tons of which list, to be weighed against the staging tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    csv_type: str
    tons: str


class Anomaly(BaseModel):
    """Which days a profile's means and deviations were made of, so that yesterday can be held against them.

    The profile has the columns ave, sigma, n and quality; the days have ddate and the columns of its key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: str
    tons: str
    where: str


def _owner(value: str) -> str:
    # The graph refuses to load with any other owner.
    if not re.fullmatch(r"team:\S+|[\w.%+-]+@[\w.-]+\.[A-Za-z]{2,7}", value, re.ASCII):
        raise ValueError("a team, as in team:data-platform, or a mail address is needed")
    return value


class Header(BaseModel):
    """What a SQL file says of its relation.

    All but `description`, `description_en` and `owner` are for materialized views.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    description_en: str
    owner: Annotated[str, AfterValidator(_owner)]
    key: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    criticality: Literal["critical", "optional"] | None = None
    days: Literal["calendar", "until_yesterday"] | None = Field(
        None, description="the view has exactly one row for each of these days; its key is the day"
    )
    equals: str | None = Field(None, description="a relation with the same columns that must hold the same rows")
    balance: Balance | None = None
    anomaly: Anomaly | None = None
    picture: str | None = Field(None, description="the picture on the view's page; a file of `pictures`")
    reads_lines: str | None = Field(None, description="why the view reads single lines instead of the rollup")
    checks: dict[str, HeaderCheck] = {}

    @property
    def comment(self) -> str:
        """The relation's comment in the database."""
        return f"{self.description}\n{self.description_en}"

    @model_validator(mode="after")
    def _days_need_a_day(self) -> "Header":
        if (self.days or self.balance) and len(self.key) != 1:
            raise ValueError("`days` and `balance` need a key of one column, the day")
        return self


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

    @cached_property
    def tree(self) -> exp.Query:
        """The SELECT, parsed.

        Raises:
            RelationError: it can't be read, or is no SELECT.
        """
        try:
            tree = sqlglot.parse_one(self.query, dialect="postgres")
        except SqlglotError as error:
            raise RelationError(f"{self.name}: the SQL can't be read: {error}") from None
        if not isinstance(tree, exp.Query):
            raise RelationError(f"{self.name}: one SELECT is needed after the header.")
        return tree

    @cached_property
    def dependencies(self) -> frozenset[str]:
        """The relations that the SELECT reads, as `schema.name`; its own CTEs are not among them."""
        sources = {source for scope in traverse_scope(self.tree) for source in scope.sources.values()}
        tables = [source for source in sources if isinstance(source, exp.Table) and source.name]
        for table in tables:
            if not table.db:
                raise RelationError(f"{self.name}: write “{table.name}” with its schema, as in mart.{table.name}.")
        return frozenset(f"{table.db}.{table.name}" for table in tables)

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


def split_file(text: str) -> tuple[str | None, str]:
    """Take a SQL file's text apart: the header's YAML, or None if the file doesn't begin with one, and the rest."""
    comment, closed, query = text.lstrip().partition("*/")
    if not comment.startswith("/*") or not closed:
        return None, text
    return comment.removeprefix("/*"), query


def read_relation(path: Path, pictures: Collection[str] | None = None) -> Relation:
    """Read one SQL file.

    Raises:
        RelationError: the header or the SELECT can't be used.
    """
    name = f"{path.parent.name}.{path.stem}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RelationError(f"{name}: {path} isn't encoded in UTF-8; save it again as UTF-8.") from None
    comment, query = split_file(text)
    if comment is None:
        raise RelationError(f"{name}: {path} has to begin with a header, /* … */.")
    try:
        header = Header.model_validate(yaml.safe_load(comment) or {})
    except yaml.YAMLError as error:
        raise RelationError(f"{name}: the header is no YAML: {error}") from None
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, issue['loc'])) or 'header'}: {issue['msg']}" for issue in error.errors()
        )
        raise RelationError(f"{name}: the header can't be used: {reasons}") from None
    line = text[: len(text) - len(query.lstrip())].count("\n") + 1
    relation = Relation(name, header, query.strip().rstrip(";"), line)
    if relation.materialized and not (header.key and header.criticality):
        raise RelationError(f"{name}: a materialized view's header states its `key` and its `criticality`.")
    if header.picture and pictures is not None and header.picture not in pictures:
        raise RelationError(f"{name}: there is no picture “{header.picture}”. The pictures are: {', '.join(pictures)}.")
    return relation


def active_view(kind: FileKind) -> Relation:
    """The view of a kind's rows that are not deleted (spec: Staging, `stg.v_active_<kind>`)."""
    columns = ", ".join(
        [
            "id",
            *(c.name for c in kind.columns),
            "upload_file_id",
            "source_row_no",
            "is_deleted",
            "deleted_at",
            "created_at",
        ]
    )
    header = Header(
        description=f"{kind.title}の有効な行（論理削除されていない行）。",
        description_en=f"The rows of stg.{kind.name} that are not deleted.",
        owner="team:data-platform",
    )
    query = f"SELECT {columns} FROM stg.{kind.name} WHERE NOT is_deleted"
    return Relation(f"stg.v_active_{kind.name}", header, query)


def source_view(csv_type: str) -> Relation:
    """The view that picks, for each day of a list, the one source that counts (spec: mart.mv_receive_daily)."""
    rollup = ROLLUPS[csv_type].name
    header = Header(
        description="日ごとに採用するデータ源（最終→速報→king の順で1つ）。",
        description_en=f"Per day the one source of {csv_type} lines that counts: final, else flash, else king.",
        owner="team:data-platform",
    )
    query = (
        "SELECT DISTINCT ON (ddate) ddate, source, line_count, slip_count, net_weight_kg, amount_yen, changed_at "
        f"FROM {rollup} ORDER BY ddate, priority"
    )
    return Relation(f"mart.v_{csv_type}_source", header, query)


class Catalog:
    """All relations, each behind what it reads; so are `materialized_views` and `views`.

    Args:
        relations: every view and materialized view.
        dashboards: what reads them, by name.

    Raises:
        RelationError: something that is read doesn't exist, or relations read each other in a circle.
    """

    def __init__(self, relations: Iterable[Relation], dashboards: Mapping[str, Dashboard] | None = None) -> None:
        self.dashboards = dashboards or {}
        by_name: dict[str, Relation] = {}
        for relation in relations:
            if by_name.setdefault(relation.name, relation) is not relation:
                raise RelationError(f"{relation.name} is made from the CSV kinds; give the file another name.")
        tables = table_names()
        for relation in by_name.values():
            header = relation.header
            named = (header.equals, header.anomaly.days if header.anomaly else None)
            unknown = {*relation.dependencies, *filter(None, named)} - by_name.keys() - tables
            if unknown:
                raise RelationError(f"{relation.name} refers to what doesn't exist: {', '.join(sorted(unknown))}.")
        for name, dashboard in self.dashboards.items():
            unknown = {*dashboard.reads} - by_name.keys() - tables
            if unknown:
                raise RelationError(f"The dashboard {name} reads what doesn't exist: {', '.join(sorted(unknown))}.")
        self._inputs: dict[str, frozenset[str]] = {
            **{table.name: _rollup_inputs(csv_type) for csv_type, table in ROLLUPS.items()},
            **{name: relation.dependencies for name, relation in sorted(by_name.items())},
        }
        try:
            order = list(graphlib.TopologicalSorter(self._inputs).static_order())
        except graphlib.CycleError as error:
            raise RelationError(f"Relations read each other in a circle: {' → '.join(error.args[1])}.") from None
        self.relations: dict[str, Relation] = {name: by_name[name] for name in order if name in by_name}
        self.materialized_views = [relation for relation in self.relations.values() if relation.materialized]
        self.views = [relation for relation in self.relations.values() if not relation.materialized]
        # Each once, behind what it reads: asked for often, and walking the graph each time grows with its square.
        self._upstream: dict[str, frozenset[str]] = {}
        for name in order:
            direct = self.inputs(name)
            self._upstream[name] = direct.union(*(self._upstream[other] for other in direct))

        all_optional = {view.name for view in self.materialized_views if view.header.criticality == "optional"}
        for relation in self.materialized_views:
            optional = self.upstream(relation.name) & all_optional
            if relation.header.criticality == "critical" and optional:
                raise RelationError(
                    f"{relation.name} is critical but reads {', '.join(sorted(optional))}, which is optional: "
                    "when that fails, this isn't refreshed and no run fails. Make both critical, or both optional."
                )

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


def table_names() -> set[str]:
    """The names of all tables that a view may read."""
    return {f"{layer}.{kind.name}" for layer in ("raw", "stg") for kind in KINDS} | {table.name for table in TABLES}


def made_relations() -> list[Relation]:
    """The views that have no file: they are made from the CSV kinds."""
    return [*(active_view(kind) for kind in KINDS), *(source_view(csv_type) for csv_type in ROLLUPS)]


def _rollup_inputs(csv_type: str) -> frozenset[str]:
    return frozenset(source.active for source in SOURCES if source.csv_type == csv_type)


def load_catalog(sql_dir: Path, pictures: Collection[str] | None = None) -> Catalog:
    """Read every SQL file below the folder, and make the views of active rows from the CSV kinds.

    Args:
        sql_dir: a folder a schema.
        pictures: the names that a header may give as `picture`; None: any.

    Raises:
        RelationError: a file can't be used.
        DashboardError: the file of dashboards can't be used.
    """
    files = sorted(sql_dir.glob("*/*.sql"))
    if not files:
        raise RelationError(f"There is no SQL file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
    return Catalog(
        [*(read_relation(path, pictures) for path in files), *made_relations()],
        read_dashboards(sql_dir),
    )
