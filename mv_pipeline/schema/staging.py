"""The CSV kinds' tables and the triggers that note changes; made from the catalogue, only what is missing.

A kind's raw table holds a file's cells as text, its stg table the typed rows; each list has its partition of the
rollup. Everything else that is a table stands in the Alembic revisions.
"""

from psycopg import sql

from mv_pipeline.catalog.kinds import KINDS, LISTS, Kind
from mv_pipeline.catalog.tables import ROLLUP, ROLLUPS, TABLES
from mv_pipeline.database import Connection, identifier

_TRANSITION_TABLES = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
}
# Flash and final rows of a list draw their ids from one sequence, as existing clients expect.
_ID_SEQUENCE = {csv_list.csv_type: f"stg.shogun_flash_{csv_list.csv_type}_id_seq" for csv_list in LISTS}
ID_SEQUENCES = tuple(_ID_SEQUENCE.values())


def create_staging(connection: Connection) -> None:
    """Create the missing tables of every list and kind, and the missing triggers of every noted table."""
    for csv_type, rollup in ROLLUPS.items():
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES IN ({})").format(
                identifier(rollup.name), identifier(ROLLUP), sql.Literal(csv_type)
            )
        )
    for kind in KINDS:
        _create_raw_table(connection, kind)
        _create_stg_table(connection, kind)
        _create_triggers(connection, f"stg.{kind.name}", "slip_date")
    for table in TABLES:
        _create_triggers(connection, table.name, table.day)


def _create_raw_table(connection: Connection, kind: Kind) -> None:
    columns: list[sql.Composable] = [sql.SQL("{} text").format(sql.Identifier(name)) for name in kind.raw_columns]
    columns += [sql.SQL("upload_file_id integer"), sql.SQL("source_row_no integer")]
    table = sql.Identifier("raw", kind.name)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(table, sql.SQL(", ").join(columns)))
    _create_index(connection, "raw", kind.name, "upload_file_id", "source_row_no")


def _create_stg_table(connection: Connection, kind: Kind) -> None:
    sequence = _ID_SEQUENCE[kind.list.csv_type]
    connection.execute(sql.SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(identifier(sequence)))
    columns = [
        sql.SQL("id bigint PRIMARY KEY DEFAULT nextval({})").format(sql.Literal(sequence)),
        *(sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.pg_type)) for column in kind.columns),
        sql.SQL("upload_file_id integer"),
        sql.SQL("source_row_no integer"),
        sql.SQL("is_deleted boolean NOT NULL DEFAULT false"),
        sql.SQL("deleted_at timestamptz"),
        sql.SQL("created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP"),
        sql.SQL("deleted_by text"),
    ]
    table = sql.Identifier("stg", kind.name)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(table, sql.SQL(", ").join(columns)))
    _create_index(connection, "stg", kind.name, "slip_date")
    _create_index(connection, "stg", kind.name, "upload_file_id")


def _create_index(connection: Connection, schema: str, table: str, *columns: str) -> None:
    connection.execute(
        sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
            sql.Identifier("_".join((table, *columns))),
            sql.Identifier(schema, table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
        )
    )


def _create_triggers(connection: Connection, table: str, day: str) -> None:
    existing = {
        row[0] for row in connection.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass", [table])
    }
    if "mv_pipeline_note_truncate" in existing:
        return
    for event, transition_tables in _TRANSITION_TABLES.items():
        connection.execute(
            sql.SQL("CREATE TRIGGER {} AFTER {} ON {} {} FOR EACH STATEMENT EXECUTE FUNCTION log.note_rows({})").format(
                sql.Identifier(f"mv_pipeline_note_{event.lower()}"),
                sql.SQL(event),
                identifier(table),
                sql.SQL(transition_tables),
                sql.Literal(day),
            )
        )
    connection.execute(
        sql.SQL(
            "CREATE TRIGGER mv_pipeline_note_truncate AFTER TRUNCATE ON {} "
            "FOR EACH STATEMENT EXECUTE FUNCTION log.note_truncate()"
        ).format(identifier(table))
    )
    # Rows that were there before the triggers count as changed.
    connection.execute("INSERT INTO log.change_note (relation) VALUES (%s)", [table])
