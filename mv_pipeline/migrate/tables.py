"""The CSV kinds' tables and the triggers that note changes; made from the catalogue, only what is missing.

A kind's raw table holds a file's cells as text, its stg table the typed rows; each list has its partition of the
rollup. Everything else that is a table stands in the Alembic revisions.
"""

from collections.abc import Iterable

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, FileKind
from mv_pipeline.catalog.tables import ROLLUP, ROLLUPS, TABLES
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.migrate.shapes import Shape

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
