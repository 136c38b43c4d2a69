"""What the tables have to look like: the CSV kinds' tables with the triggers that log changes, and comparing a table.

A kind's raw table holds a file's cells as text, its stg table the typed rows. Everything else that is a table is in
the Alembic revisions, but for those that `migrate.stored` makes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from psycopg import sql
from psycopg.rows import class_row

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, FileKind
from mv_pipeline.catalog.tables import TRACKED
from mv_pipeline.database.connection import Connection, identifier, read_query
from mv_pipeline.migrate.indexes import Index, find_key_violations, read_indexes
from mv_pipeline.migrate.state import describe_occupied, kind_of

# Flash and final rows of a list draw their ids from one sequence, as existing clients expect.
_ID_SEQUENCE = {csv_list.csv_type: f"stg.shogun_flash_{csv_list.csv_type}_id_seq" for csv_list in LISTS}
ID_SEQUENCES = tuple(_ID_SEQUENCE.values())

_REHEARSED = "mv_pipeline_shape"


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


def shapes() -> list[Shape]:
    """What the tables of every kind have to look like."""
    return [shape for kind in KINDS for shape in (_raw_shape(kind), _stg_shape(kind))]


def create_sequences(connection: Connection) -> None:
    """Create the missing sequences that rows draw their ids from."""
    for sequence in ID_SEQUENCES:
        connection.execute(sql.SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(identifier(sequence)))


def create_tables(connection: Connection) -> None:
    """Create the missing tables of every kind; one that exists is left as it is."""
    create_sequences(connection)
    for shape in shapes():
        if kind_of(connection, shape.name) is None:
            shape.create(connection)


def untracked(connection: Connection) -> list[str]:
    """The existing tables whose changes nobody logs yet."""
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS "
        "(SELECT FROM pg_trigger WHERE tgrelid = to_regclass(name) AND tgname = %s)",
        [list(TRACKED), "mv_pipeline_note_truncate"],
    )
    return [row[0] for row in rows]


def create_triggers(connection: Connection, tables: Iterable[str]) -> None:
    """Log the changes of tables from now on; the rows that they hold already count as changed."""
    for table in tables:
        day = sql.Literal(TRACKED[table])
        triggers = read_query(__file__, "note_triggers").format(
            table=identifier(table), day=day, name=sql.Literal(table)
        )
        connection.execute(triggers)


def _raw_shape(kind: FileKind) -> Shape:
    columns = [sql.SQL("{} text").format(sql.Identifier(name)) for name in kind.raw_columns]
    body = sql.SQL("({}, upload_file_id integer, source_row_no integer)").format(sql.SQL(", ").join(columns))
    return Shape(f"raw.{kind.name}", body, indexes=(("upload_file_id", "source_row_no"),))


def _stg_shape(kind: FileKind) -> Shape:
    columns = [sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.pg_type)) for column in kind.columns]
    body = sql.SQL(
        "(id bigint PRIMARY KEY DEFAULT nextval({sequence}), {columns}, upload_file_id integer, source_row_no integer, "
        "is_deleted boolean NOT NULL DEFAULT false, deleted_at timestamptz, "
        "created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, deleted_by text)"
    ).format(sequence=sql.Literal(_ID_SEQUENCE[kind.list.csv_type]), columns=sql.SQL(", ").join(columns))
    return Shape(f"stg.{kind.name}", body, indexes=(("slip_date",), ("upload_file_id",)))


@dataclass(frozen=True)
class ExistingColumn:
    """A column in the database.

    Args:
        type: as PostgreSQL prints it.
        required: it is NOT NULL.
        generated: computed from other columns.
        filled: a row that doesn't name it gets a value.
    """

    name: str
    type: str
    required: bool
    generated: bool
    filled: bool

    @property
    def unfilled(self) -> bool:
        """True if a row that doesn't name it can't be inserted."""
        return self.required and not self.filled


def compare_table(connection: Connection, shape: Shape) -> tuple[list[str], list[Index]]:
    """Compare a table with its shape; PostgreSQL reads both, so no type is compared as somebody has written it.

    Args:
        connection: what is made for the comparison is rolled back.
        shape: of a relation that exists.

    Returns:
        A sentence for each incompatibility, and the missing indexes.
    """
    if occupied := describe_occupied(connection, shape.name, "table"):
        return [occupied], []
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE TEMP TABLE {} {}").format(sql.Identifier(_REHEARSED), shape.body))
        columns = read_columns(connection, _REHEARSED)
        keys = [existing.index for existing in read_indexes(connection, f"pg_temp.{_REHEARSED}")]
    found = read_columns(connection, shape.name)
    existing = read_indexes(connection, shape.name)
    wanted = [
        *(replace(key, table=shape.name) for key in keys),
        *(Index(shape.name, columns) for columns in shape.indexes),
    ]
    missing = [
        index
        for index in wanted
        if {*index.columns} <= found.keys() and not any(other.serves(index) for other in existing)
    ]
    return [*_incompatible_columns(shape, columns, found), *_incompatible_keys(connection, missing)], missing


def column_types(connection: Connection, name: str) -> dict[str, str]:
    """The columns of a relation and their types, in order."""
    return {column: found.type for column, found in read_columns(connection, name).items()}


def read_columns(connection: Connection, name: str) -> dict[str, ExistingColumn]:
    """The columns of a relation by name, in order."""
    with connection.cursor(row_factory=class_row(ExistingColumn)) as cursor:
        cursor.execute(
            "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required, "
            "attgenerated <> '' AS generated, atthasdef OR attidentity <> '' AS filled FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [name],
        )
        return {column.name: column for column in cursor}


def _incompatible_columns(
    shape: Shape, wanted: dict[str, ExistingColumn], found: dict[str, ExistingColumn]
) -> Iterator[str]:
    for name, column in wanted.items():
        existing = found.get(name)
        what = f"{shape.name}: the column {name}"
        if existing is None:
            yield f"{what} is missing. Add it: ALTER TABLE {shape.name} ADD COLUMN {name} {column.type}."
        elif existing.type != column.type:
            yield f"{what} is {existing.type}; it has to be {column.type}. Change the column's type."
        elif existing.generated != column.generated:
            is_, has = ("generated", "an ordinary column") if existing.generated else ("not generated", "generated")
            yield f"{what} is {is_}; it has to be {has}. Make the column again."
        elif shape.inserted and existing.unfilled and (column.filled or not column.required):
            yield f"{what} is NOT NULL without a default; rows come without it. Give it a default."
    for name in sorted(found.keys() - wanted.keys()):
        if shape.inserted and found[name].unfilled:
            yield (
                f"{shape.name}: the column {name} is NOT NULL without a default and unknown here; rows come without "
                "it. Give it a default or let it be NULL."
            )


def _incompatible_keys(connection: Connection, indexes: Iterable[Index]) -> Iterator[str]:
    for key in indexes:
        if key.unique and (violations := find_key_violations(connection, key)):
            yield f"{key.table} needs the key ({', '.join(key.columns)}), but {violations}. Keep one row of each."
