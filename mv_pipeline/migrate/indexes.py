"""Indexes and keys: which a table or materialized view has, and making one that is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, identifier, scalar


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


def has_key(indexes: Sequence[StandingIndex], columns: Sequence[str]) -> bool:
    """True if one of the indexes keeps rows with the same values in these columns out."""
    return any(i.unique and i.valid and i.plain and sorted(i.columns) == sorted(columns) for i in indexes)


def has_index(indexes: Sequence[StandingIndex], columns: Sequence[str]) -> bool:
    """True if one of the indexes finds rows by these columns."""
    return any(i.valid and i.plain and i.columns[: len(columns)] == tuple(columns) for i in indexes)


def invalid_index(table: str, indexes: Sequence[StandingIndex], columns: Sequence[str]) -> str:
    """The name of one on these columns that an interrupted CONCURRENTLY has left behind; empty: there is none."""
    schema = table.split(".")[0]
    return next((f"{schema}.{i.name}" for i in indexes if not i.valid and i.columns == tuple(columns)), "")


def index_names(relation: Relation, columns: Sequence[str]) -> tuple[str, str]:
    """The names that an index on these columns has if it was made from a header: as the key, and as another."""
    return f"{relation.table}_key", "_".join((relation.table, *columns))
