"""Indexes and keys: which a table or materialized view has, which it should have, and making one that is missing."""

from dataclasses import dataclass

from psycopg import sql

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, identifier, read_query, scalar

_SHOWN = 3


@dataclass(frozen=True)
class Index:
    """An index on columns, for all rows; a unique one is a key.

    Args:
        table: schema and name of the table or materialized view.
        columns: in order, without those that are only included.
        unique: no two rows may have the same values.
    """

    table: str
    columns: tuple[str, ...]
    unique: bool = False

    @property
    def name(self) -> str:
        """The name that it gets, made of the table's name and the columns'."""
        return "_".join((self.table.split(".")[1], *(("key",) if self.unique else self.columns)))

    def create(self, connection: Connection, *, concurrently: bool = False) -> None:
        """Create the index, under another name if its own is taken.

        Args:
            connection: in autocommit mode if concurrently.
            concurrently: let writers go on meanwhile.
        """
        schema = self.table.split(".")[0]
        how = sql.SQL("CONCURRENTLY" if concurrently else "")
        for existing in read_indexes(connection, self.table):
            # An interrupted CONCURRENTLY has left it behind.
            if existing.index == self and not existing.valid:
                connection.execute(sql.SQL("DROP INDEX {} {}").format(how, sql.Identifier(schema, existing.name)))
        taken = scalar(connection, "SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{self.name}"])
        connection.execute(
            sql.SQL("CREATE {} INDEX {} {} ON {} ({})").format(
                sql.SQL("UNIQUE" if self.unique else ""),
                how,
                sql.Identifier(f"mv_pipeline_{self.name}" if taken else self.name),
                identifier(self.table),
                sql.SQL(", ").join(map(sql.Identifier, self.columns)),
            )
        )


@dataclass(frozen=True)
class ExistingIndex:
    """An index in the database.

    Args:
        index: its columns, and whether it is unique.
        name: without schema.
        plain: on columns only, for all rows.
        valid: not left behind by an interrupted CONCURRENTLY.
        definition: as PostgreSQL prints it.
    """

    index: Index
    name: str
    plain: bool
    valid: bool
    definition: str

    def serves(self, wanted: Index) -> bool:
        """True if the wanted one needn't be made: a key's columns in any order, or an index that begins with them."""
        if not (self.plain and self.valid):
            return False
        if wanted.unique:
            return self.index.unique and {*self.index.columns} == {*wanted.columns}
        return self.index.columns[: len(wanted.columns)] == wanted.columns


def read_indexes(connection: Connection, table: str) -> list[ExistingIndex]:
    """Read the indexes of a table or materialized view, the oldest first."""
    rows = connection.execute(
        read_query(__file__, "indexes"),
        [table],
    )
    return [ExistingIndex(Index(table, tuple(columns), unique), *rest) for columns, unique, *rest in rows]


def header_indexes(relation: Relation) -> list[Index]:
    """The indexes that a materialized view's header asks for, the key first."""
    header = relation.header
    return [Index(relation.name, header.key, unique=True), *(Index(relation.name, names) for names in header.indexes)]


def find_key_violations(connection: Connection, key: Index) -> str:
    """Say which values keep columns from being a key; empty: none do."""
    rows = connection.execute(
        sql.SQL(
            "SELECT concat_ws(', ', {key}), count(*), count(*) OVER () FROM {table} GROUP BY {key} "
            "HAVING count(*) > 1 OR num_nulls({key}) > 0 ORDER BY {key} LIMIT {shown}"
        ).format(
            key=sql.SQL(", ").join(map(sql.Identifier, key.columns)),
            table=identifier(key.table),
            shown=sql.Literal(_SHOWN),
        )
    ).fetchall()
    if not rows:
        return ""
    examples = "; ".join(f"({value or 'NULL'}): {count} rows" for value, count, _ in rows)
    return f"{rows[0][2]} of its values occur more than once or hold NULL: {examples}"
