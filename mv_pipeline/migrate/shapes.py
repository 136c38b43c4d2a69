"""What a table has to look like: making it, and holding one that others made against it.

PostgreSQL itself reads both sides: the wanted shape is made as a temporary table, so types are never compared as text
that somebody wrote. Which tables there are, and what is done about an incompatibility, is elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from mv_pipeline.database.connection import Connection, identifier, scalar

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "i": "index"}
_SHOWN = 3
_SIDE = "mv_pipeline_shape"


@dataclass(frozen=True)
class Shape:
    """A wanted table.

    Args:
        name: schema and table.
        body: what follows the name in CREATE TABLE.
        indexes: the columns of the indexes to have in addition to those of its keys.
        inserted: the pipeline inserts rows, so columns that it doesn't know have to take care of themselves.
    """

    name: str
    body: sql.Composable
    indexes: tuple[tuple[str, ...], ...] = ()
    inserted: bool = True

    def create(self, connection: Connection) -> None:
        """Create the table with its indexes."""
        connection.execute(sql.SQL("CREATE TABLE {} {}").format(identifier(self.name), self.body))
        for columns in self.indexes:
            Index(self.name, columns).create(connection)


@dataclass(frozen=True)
class Index:
    """An index that is missing; a unique one is a key.

    Args:
        table: schema and table.
        columns: in order.
        unique: no two rows may have the same values.
        invalid: the name of one that an interrupted CONCURRENTLY has left behind, to be dropped first.
    """

    table: str
    columns: tuple[str, ...]
    unique: bool = False
    invalid: str = ""

    @property
    def name(self) -> str:
        """Made of the table's name and the columns'."""
        return "_".join((self.table.split(".")[1], *self.columns))

    def create(self, connection: Connection, *, concurrently: bool = False) -> None:
        """Create the index, under another name if its own is taken.

        Args:
            connection: in autocommit mode if concurrently.
            concurrently: let writers go on meanwhile.
        """
        schema = self.table.split(".")[0]
        if self.invalid:
            connection.execute(
                sql.SQL("DROP INDEX {} {}").format(
                    sql.SQL("CONCURRENTLY" if concurrently else ""), identifier(self.invalid)
                )
            )
        taken = scalar(connection, "SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{self.name}"])
        connection.execute(
            sql.SQL("CREATE {} INDEX {} {} ON {} ({})").format(
                sql.SQL("UNIQUE" if self.unique else ""),
                sql.SQL("CONCURRENTLY" if concurrently else ""),
                sql.Identifier(f"mv_pipeline_{self.name}" if taken else self.name),
                identifier(self.table),
                sql.SQL(", ").join(map(sql.Identifier, self.columns)),
            )
        )


@dataclass(frozen=True)
class TableComparison:
    """How a table that exists compares with its shape: a sentence for each incompatibility, and the missing indexes."""

    incompatibilities: list[str]
    missing: list[Index]


@dataclass(frozen=True)
class _Column:
    type: str
    required: bool
    generated: bool
    filled: bool


def compare_table(connection: Connection, shape: Shape) -> TableComparison:
    """Hold a table that stands against its shape.

    Args:
        connection: what is made for the comparison is taken back.
        shape: of a relation that exists.
    """
    kind = scalar(connection, "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [shape.name])
    if kind not in ("r", "p"):
        what = KINDS.get(kind, "relation of another kind")
        return TableComparison([f"{shape.name} is a {what}. Rename it: a table of this name is needed."], [])
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE TEMP TABLE {} {}").format(sql.Identifier(_SIDE), shape.body))
        wanted = _columns(connection, _SIDE)
        keys = [index.columns for index in read_indexes(connection, _SIDE) if index.unique]
    found = _columns(connection, shape.name)
    incompatibilities = [*_column_incompatibilities(shape, wanted, found)]
    missing = []
    standing = read_indexes(connection, shape.name)
    for columns in keys:
        if set(columns) <= found.keys() and not _has_key(standing, columns):
            incompatibilities += _key_incompatibilities(connection, shape.name, columns)
            missing.append(Index(shape.name, columns, True, _invalid(shape.name, standing, columns)))
    missing += [
        Index(shape.name, columns, False, _invalid(shape.name, standing, columns))
        for columns in shape.indexes
        if set(columns) <= found.keys() and not _has_index(standing, columns)
    ]
    return TableComparison(incompatibilities, missing)


def _columns(connection: Connection, table: str) -> dict[str, _Column]:
    rows = connection.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attgenerated <> '', "
        "atthasdef OR attidentity <> '' FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    )
    return {name: _Column(*rest) for name, *rest in rows}


def _column_incompatibilities(shape: Shape, wanted: dict[str, _Column], found: dict[str, _Column]) -> list[str]:
    incompatibilities = []
    for name, column in wanted.items():
        standing = found.get(name)
        what = f"{shape.name}: the column {name}"
        if standing is None:
            incompatibilities.append(
                f"{what} is missing. Add it: ALTER TABLE {shape.name} ADD COLUMN {name} {column.type}."
            )
        elif standing.type != column.type:
            incompatibilities.append(
                f"{what} is {standing.type}; it has to be {column.type}. Change the column's type."
            )
        elif standing.generated != column.generated:
            is_, has = ("generated", "an ordinary column") if standing.generated else ("not generated", "generated")
            incompatibilities.append(f"{what} is {is_}; it has to be {has}. Make the column again.")
        elif shape.inserted and standing.required and not standing.filled and (column.filled or not column.required):
            incompatibilities.append(f"{what} is NOT NULL without a default; rows come without it. Give it a default.")
    if shape.inserted:
        incompatibilities += [
            f"{shape.name}: the column {name} is NOT NULL without a default and unknown here; rows come without it. "
            "Give it a default or let it be NULL."
            for name, column in found.items()
            if name not in wanted and column.required and not column.filled
        ]
    return incompatibilities


@dataclass(frozen=True)
class StandingIndex:
    """An index that stands.

    Args:
        name: without schema.
        columns: in order, without those that are only included.
        unique: no two rows may have the same values.
        plain: on columns only, for all rows.
        valid: not left behind by an interrupted CONCURRENTLY.
        definition: as PostgreSQL prints it.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool
    plain: bool
    valid: bool
    definition: str


def read_indexes(connection: Connection, table: str) -> list[StandingIndex]:
    """Read the indexes of a table or materialized view, the oldest first."""
    rows = connection.execute(
        "SELECT c.relname::text, ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY "
        "AS k (attnum, n) JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
        "WHERE n <= i.indnkeyatts ORDER BY n), indisunique, indpred IS NULL AND indexprs IS NULL, indisvalid, "
        "pg_get_indexdef(indexrelid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = indexrelid "
        "WHERE indrelid = %s::regclass ORDER BY indexrelid",
        [table],
    )
    return [StandingIndex(name, tuple(columns), *rest) for name, columns, *rest in rows]


def _has_key(indexes: Sequence[StandingIndex], columns: Sequence[str]) -> bool:
    return any(i.unique and i.valid and i.plain and sorted(i.columns) == sorted(columns) for i in indexes)


def _has_index(indexes: Sequence[StandingIndex], columns: Sequence[str]) -> bool:
    return any(i.valid and i.plain and i.columns[: len(columns)] == tuple(columns) for i in indexes)


def _invalid(table: str, indexes: Sequence[StandingIndex], columns: Sequence[str]) -> str:
    schema = table.split(".")[0]
    return next((f"{schema}.{i.name}" for i in indexes if not i.valid and i.columns == tuple(columns)), "")


def _key_incompatibilities(connection: Connection, table: str, columns: Sequence[str]) -> list[str]:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    rows = connection.execute(
        sql.SQL(
            "SELECT concat_ws(', ', {names}), count(*), count(*) OVER () FROM {table} "
            "GROUP BY {names} HAVING count(*) > 1 OR num_nulls({names}) > 0 ORDER BY 1 LIMIT {shown}"
        ).format(names=names, table=identifier(table), shown=sql.Literal(_SHOWN))
    ).fetchall()
    if not rows:
        return []
    examples = "; ".join(f"{value or 'NULL'}: {count} rows" for value, count, _ in rows)
    return [
        f"{table} needs the key ({', '.join(columns)}), but {rows[0][2]} values stand more than once or are NULL "
        f"({examples}). Keep one row of each."
    ]
