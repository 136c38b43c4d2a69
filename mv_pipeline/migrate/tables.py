"""The CSV kinds' tables and the triggers that note changes; made from the catalogue, only what is missing.

A kind's raw table holds a file's cells as text, its stg table the typed rows; each list has its partition of the
rollup. Everything else that is a table stands in the Alembic revisions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, FileKind
from mv_pipeline.catalog.tables import ROLLUP, ROLLUPS, TABLES
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.migrate.indexes import Index, has_index, has_key, invalid_index, read_indexes
from mv_pipeline.migrate.state import KINDS as RELATION_KINDS

_TRANSITION_TABLES = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
}
# Flash and final rows of a list draw their ids from one sequence, as existing clients expect.
_ID_SEQUENCE = {csv_list.csv_type: f"stg.shogun_flash_{csv_list.csv_type}_id_seq" for csv_list in LISTS}
ID_SEQUENCES = tuple(_ID_SEQUENCE.values())


_NOTED: dict[str, str] = {f"stg.{kind.name}": "slip_date" for kind in KINDS} | {t.name: t.day for t in TABLES}
_LAST_TRIGGER = "mv_pipeline_note_truncate"
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


def shapes() -> list[Shape]:
    """What the tables of every kind have to look like."""
    return [shape for kind in KINDS for shape in (_raw_shape(kind), _stg_shape(kind))]


def create_sequences(connection: Connection) -> None:
    """Create the missing sequences that rows draw their ids from."""
    for sequence in ID_SEQUENCES:
        connection.execute(sql.SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(identifier(sequence)))


def create_tables(connection: Connection) -> None:
    """Create the missing tables of every list and kind; one that stands already is left as it is."""
    for csv_type, rollup in ROLLUPS.items():
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES IN ({})").format(
                identifier(rollup.name), identifier(ROLLUP), sql.Literal(csv_type)
            )
        )
    create_sequences(connection)
    for shape in shapes():
        if scalar(connection, "SELECT to_regclass(%s) IS NULL", [shape.name]):
            shape.create(connection)


def untracked(connection: Connection) -> list[str]:
    """The tables that stand and whose changes nobody notes yet."""
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS "
        "(SELECT FROM pg_trigger WHERE tgrelid = to_regclass(name) AND tgname = %s)",
        [list(_NOTED), _LAST_TRIGGER],
    )
    return [row[0] for row in rows]


def create_triggers(connection: Connection, tables: Iterable[str]) -> None:
    """Note the changes of tables from now on; the rows that they hold already count as changed."""
    for table in tables:
        for event, transition_tables in _TRANSITION_TABLES.items():
            connection.execute(
                sql.SQL(
                    "CREATE OR REPLACE TRIGGER {} AFTER {} ON {} {} FOR EACH STATEMENT "
                    "EXECUTE FUNCTION log.note_rows({})"
                ).format(
                    sql.Identifier(f"mv_pipeline_note_{event.lower()}"),
                    sql.SQL(event),
                    identifier(table),
                    sql.SQL(transition_tables),
                    sql.Literal(_NOTED[table]),
                )
            )
        connection.execute(
            sql.SQL(
                "CREATE TRIGGER {} AFTER TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION log.note_truncate()"
            ).format(sql.Identifier(_LAST_TRIGGER), identifier(table))
        )
        connection.execute("INSERT INTO log.change_note (relation) VALUES (%s)", [table])


def _raw_shape(kind: FileKind) -> Shape:
    columns: list[sql.Composable] = [sql.SQL("{} text").format(sql.Identifier(name)) for name in kind.raw_columns]
    columns += [sql.SQL("upload_file_id integer"), sql.SQL("source_row_no integer")]
    return Shape(
        f"raw.{kind.name}",
        sql.SQL("({})").format(sql.SQL(", ").join(columns)),
        indexes=(("upload_file_id", "source_row_no"),),
    )


def _stg_shape(kind: FileKind) -> Shape:
    columns = [
        sql.SQL("id bigint PRIMARY KEY DEFAULT nextval({})").format(sql.Literal(_ID_SEQUENCE[kind.list.csv_type])),
        *(sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.pg_type)) for column in kind.columns),
        sql.SQL("upload_file_id integer"),
        sql.SQL("source_row_no integer"),
        sql.SQL("is_deleted boolean NOT NULL DEFAULT false"),
        sql.SQL("deleted_at timestamptz"),
        sql.SQL("created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP"),
        sql.SQL("deleted_by text"),
    ]
    return Shape(
        f"stg.{kind.name}",
        sql.SQL("({})").format(sql.SQL(", ").join(columns)),
        indexes=(("slip_date",), ("upload_file_id",)),
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
        what = RELATION_KINDS.get(kind, "relation of another kind")
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
        if set(columns) <= found.keys() and not has_key(standing, columns):
            incompatibilities += _key_incompatibilities(connection, shape.name, columns)
            missing.append(Index(shape.name, columns, True, invalid_index(shape.name, standing, columns)))
    missing += [
        Index(shape.name, columns, False, invalid_index(shape.name, standing, columns))
        for columns in shape.indexes
        if set(columns) <= found.keys() and not has_index(standing, columns)
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
