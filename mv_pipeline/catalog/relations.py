"""The views and materialized views: one SQL file each, and how they depend on each other.

The name of a file is `<schema>/<name>.sql`; a name that begins with `mv_` is a materialized view. What it depends on is
read from its SQL. The views of active rows and of counted sources are made from the CSV kinds in the same form.
"""

import graphlib
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from sqlglot import exp

from mv_pipeline.catalog.csv_kinds import KINDS, FileKind
from mv_pipeline.catalog.sql_file import (
    DASHBOARDS,
    Dashboard,
    Header,
    Rule,
    SqlFile,
    Violation,
    instead_of,
    parse_query,
    read_dashboards,
    tables_read,
)
from mv_pipeline.catalog.tables import ROLLUPS, SOURCES, TABLES
from mv_pipeline.settings import OperatorError

RelationKind = Literal["view", "materialized view"]


class CatalogError(OperatorError):
    """The SQL files can't be used; the message says in a line for each violation what to change."""


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
    def dependencies(self) -> frozenset[str]:
        """The relations that the SELECT reads, as `schema.name`; its own CTEs are not among them."""
        return frozenset(f"{table.db}.{table.name}" for table in tables_read(self.tree))

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
    header = Header(
        description=f"{kind.title}の有効な行（論理削除されていない行）。",
        description_en=f"The rows of stg.{kind.name} that are not deleted.",
        owner="team:data-platform",
    )
    query = (
        f"SELECT id, {columns}, upload_file_id, source_row_no, is_deleted, deleted_at, created_at "
        f"FROM stg.{kind.name} WHERE NOT is_deleted"
    )
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
    """All relations, each after what it reads; so are `materialized_views` and `views`.

    Args:
        relations: every view and materialized view; what they read exists, and none reads itself.
        dashboards: what reads them, by name.
    """

    def __init__(self, relations: Iterable[Relation], dashboards: Mapping[str, Dashboard] | None = None) -> None:
        self.dashboards = dashboards or {}
        by_name = {relation.name: relation for relation in relations}
        self._inputs = _inputs({name: relation.dependencies for name, relation in by_name.items()})
        # Worked out once: asked for often, and walking the graph each time grows with its square.
        self._upstream = _upstream(self._inputs)
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


def _inputs(reads: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """What each relation and rollup table reads directly, in an order that is the same for the same files."""
    rolled_up = {
        table.name: frozenset(source.active for source in SOURCES if source.csv_type == csv_type)
        for csv_type, table in ROLLUPS.items()
    }
    return {**rolled_up, **dict(sorted(reads.items()))}


def _upstream(inputs: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Everything that each relation and table reads, directly or through others; each after what it reads.

    Raises:
        graphlib.CycleError: relations read each other in a circle.
    """
    found: dict[str, frozenset[str]] = {}
    for name in graphlib.TopologicalSorter(inputs).static_order():
        direct = inputs.get(name, frozenset())
        found[name] = direct.union(*(found[other] for other in direct))
    return found


class SqlFolder:
    """Every SQL file of a folder as far as it can be read, and what is wrong with them.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Attributes:
        files: by the relation's name.
        known: what a view may read: the files' relations, those that are made from the CSV kinds, and the tables.
        others: what is wrong with files other than those.
        inputs: what each relation and rollup table reads directly.
        upstream: everything that each of them reads, each after what it reads; empty if there is a circle.

    Raises:
        CatalogError: the folder has no SQL file.
    """

    def __init__(self, sql_dir: Path, pictures: Collection[str] | None = None) -> None:
        self.sql_dir = sql_dir
        self.files = {file.name: file for file in (SqlFile(path, pictures) for path in sorted(sql_dir.glob("*/*.sql")))}
        if not any(sql_dir.rglob("*.sql")):
            raise CatalogError(f"There is no SQL file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
        self.known = {*self.files, *(relation.name for relation in made_relations()), *table_names()}
        made = {relation.name: relation.dependencies for relation in made_relations()}
        self.inputs = _inputs({**made, **{name: file.reads for name, file in self.files.items()}})
        self.upstream: dict[str, frozenset[str]] = {}
        self.dashboards, self.others = read_dashboards(sql_dir)
        for file in self.files.values():
            self._check_references(file)
        self._check_lineage()
        self._check_dashboards()

    @property
    def violations(self) -> list[Violation]:
        """What is wrong with files, by file and line; each once."""
        found = set(self.others).union(*(file.violations for file in self.files.values()))
        return sorted(found, key=lambda one: (one.path, one.line or 0, one.rule, one.message))

    def _check_references(self, file: SqlFile) -> None:
        for message, fix in taken_name(file.name):
            file.add(None, Rule.FILE_NAME, message, fix)
        for table in file.tables:
            name = f"{table.db}.{table.name}" if table.db else table.name
            if not table.db:
                alike = [known for known in sorted(self.known) if known.endswith(f".{name}")] or [f"mart.{name}"]
                fix = f"Write {' or '.join(alike)}."
                file.add(file.query_line(table), Rule.SCHEMA, f"“{name}” has no schema.", fix)
            elif name not in self.known:
                fix = instead_of(name, self.known)
                file.add(file.query_line(table), Rule.UNKNOWN_RELATION, f"There is no {name}.", fix)
        header = file.header
        for field, named in (("equals", header.equals), ("anomaly", header.anomaly and header.anomaly.days)):
            if named and named not in self.known:
                message, fix = f"`{field}` names {named}, which doesn't exist.", instead_of(named, self.known)
                file.add(file.line_of(field), Rule.UNKNOWN_RELATION, message, fix)

    def _check_lineage(self) -> None:
        try:
            self.upstream = _upstream(self.inputs)
        except graphlib.CycleError as error:
            circle = error.args[1]
            file = next(self.files[name] for name in circle if name in self.files)
            message = f"Relations read each other in a circle: {' → '.join(circle)}."
            fix = "Let one of them read what the other is made of."
            file.add(None, Rule.CIRCLE, message, fix)
            return
        optional = {
            name for name, file in self.files.items() if file.materialized and file.header.criticality == "optional"
        }
        for file in (file for file in self.files.values() if file.header.criticality == "critical"):
            for name in sorted(self.upstream[file.name] & optional):
                first = next(
                    other for other in sorted(self.inputs[file.name]) if name in (other, *self.upstream[other])
                )
                through = "" if first == name else f" through {first}"
                message = (
                    f"A critical view reads {name}{through}, which is optional: when that can't be refreshed, "
                    "this view isn't either, and no run fails."
                )
                fix = "Make both critical, or both optional."
                file.add(file.line_of("criticality"), Rule.CRITICALITY, message, fix)

    def _check_dashboards(self) -> None:
        for name, dashboard in self.dashboards.items():
            for relation in dashboard.reads:
                if relation not in self.known:
                    message = f"The dashboard “{name}” reads {relation}, which doesn't exist."
                    fix, path = instead_of(relation, self.known), self.sql_dir / DASHBOARDS
                    self.others.append(Violation(path, None, Rule.DASHBOARD, message, fix))


def load_catalog(sql_dir: Path, pictures: Collection[str] | None = None) -> Catalog:
    """Read every SQL file below the folder, and make the views that follow from the CSV kinds.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Raises:
        CatalogError: files can't be used; every violation of every file is in it.
    """
    folder = SqlFolder(sql_dir, pictures)
    if folder.violations:
        raise CatalogError(f"The SQL files in {sql_dir} can't be used:", tuple(map(str, folder.violations)))
    relations = [Relation(file.name, file.header, file.query, file.line) for file in folder.files.values()]
    return Catalog([*relations, *made_relations()], folder.dashboards)


def taken_name(name: str) -> Iterator[tuple[str, str]]:
    """Say that a view of this name is made from the CSV kinds, and what to do."""
    if name in {relation.name for relation in made_relations()}:
        yield f"{name} is made from the CSV kinds already.", "Choose another name."


def table_names() -> set[str]:
    """The names of all tables that a view may read."""
    return {f"{layer}.{kind.name}" for layer in ("raw", "stg") for kind in KINDS} | {table.name for table in TABLES}


@cache
def made_relations() -> tuple[Relation, ...]:
    """The views that have no file: they are made from the CSV kinds."""
    return (*(active_view(kind) for kind in KINDS), *(source_view(csv_type) for csv_type in ROLLUPS))
