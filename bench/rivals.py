"""The rivals that are SQL alone: a full refresh, a view's earlier definition, a bare COPY.

They live in the schema `bench`, on the same data as ours.
"""

from collections.abc import Sequence
from pathlib import Path

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier, scalar

FULL_VIEW = "bench.mv_receive_daily"
DBT_VIEW = "bench_dbt.mv_receive_daily"
OUR_VIEW = "mart.mv_receive_daily"
SALES_BEFORE = "bench.v_customer_sales_daily"
COPY_TABLE = "bench.cells"
HERE = Path(__file__).parent

_RECEIVE_DAILY = HERE / "dbt" / "models" / "mv_receive_daily.sql"
_COPY_BYTES = 1 << 18


class BenchError(Exception):
    """The rivals can't be compared: they don't compute the same thing."""


# A full refresh


def create_full_view(connection: Connection) -> None:
    """Create, if it is missing, a materialized view with the rows of mv_receive_daily, from staging tables and king."""
    query = _RECEIVE_DAILY.read_text(encoding="utf-8").partition("}}")[2]
    create_view(connection, FULL_VIEW, query, ["ddate"], ["iso_year", "iso_week"])


def create_view(connection: Connection, view: str, query: str, key: Sequence[str], *indexes: Sequence[str]) -> None:
    """Create, if it is missing, a materialized view with its key and other indexes."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    connection.execute(
        sql.SQL("CREATE MATERIALIZED VIEW IF NOT EXISTS {} AS {}").format(identifier(view), sql.SQL(query))
    )
    for number, columns in enumerate((key, *indexes)):
        connection.execute(
            sql.SQL("CREATE {} INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.SQL("" if number else "UNIQUE"),
                sql.Identifier(f"{view.split('.')[1]}_{number}"),
                identifier(view),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
            )
        )


def refresh(connection: Connection, view: str = FULL_VIEW, concurrently: bool = True) -> None:
    """Refresh a materialized view, as anybody would."""
    mode = sql.SQL("CONCURRENTLY" if concurrently else "")
    connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {} {}").format(mode, identifier(view)))


def compare_with_ours(connection: Connection, view: str, ours: str = f"TABLE {OUR_VIEW}") -> None:
    """Hold a rival's view against the rows of our query, row by row.

    Raises:
        BenchError: they differ, so no time of theirs would mean anything.
    """
    differing = scalar(
        connection,
        sql.SQL(
            "WITH b AS ({ours}) SELECT count(*) FROM "
            "((TABLE {a} EXCEPT ALL TABLE b) UNION ALL (TABLE b EXCEPT ALL TABLE {a})) AS x"
        ).format(a=identifier(view), ours=sql.SQL(ours)),
    )
    rows = scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(view)))
    if differing or not rows:
        raise BenchError(f"{view} has {rows} rows, of which {differing} differ from ours or are missing.")


# A view's earlier definition


def create_sales_before(connection: Connection) -> None:
    """Create mart.v_customer_sales_daily as it was before it read a rollup."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    connection.execute(
        sql.SQL(
            "CREATE VIEW {} AS SELECT sales_date, customer_id, max(customer_name) AS customer_name, "
            "max(rep_id) AS rep_id, max(rep_name) AS rep_name, count(DISTINCT slip_no) AS visit_count, "
            "sum(amount_yen) AS total_amount_yen, sum(qty_kg) AS total_qty_kg, sum(qty_kg) AS total_net_weight_kg "
            "FROM mart.v_sales_tree_detail_base GROUP BY sales_date, customer_id"
        ).format(identifier(SALES_BEFORE))
    )


# A bare COPY


def create_copy_table(connection: Connection, kind: FileKind) -> None:
    """Create a table with one text column per cell of a line, without indexes or triggers."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(column.name)) for column in kind.columns)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier(COPY_TABLE), columns))


def copy_file(connection: Connection, path: Path) -> None:
    """Send a file's bytes to the server as they are; PostgreSQL reads CSV and CP932 by itself."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER, ENCODING 'SJIS')").format(identifier(COPY_TABLE))
    with path.open("rb") as file, connection.cursor().copy(statement) as copy:
        while block := file.read(_COPY_BYTES):
            copy.write(block)
