"""The old application's way: pandas reads the file as text, `to_sql` writes it, and a full refresh follows.

It writes into copies of the raw and stg tables in the schema `bench`.
"""

from pathlib import Path

import pandas as pd
from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from mv_pipeline.catalog.csv_kinds import FileKind
from mv_pipeline.database.connection import Connection, identifier

RAW, STG = "bench.old_raw", "bench.old_stg"
VERSION = pd.__version__

_CHUNK_LINES = 1000


def engine_for(url: str) -> Engine:
    """An engine as pandas wants one."""
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)


def create_tables(connection: Connection, kind: FileKind) -> None:
    """Create empty copies of a kind's raw and stg tables, with their indexes but without triggers."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    for clone, table in ((RAW, f"raw.{kind.name}"), (STG, f"stg.{kind.name}")):
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(identifier(clone), identifier(table))
        )


def take(engine: Engine, kind: FileKind, path: Path) -> None:
    """Read a file with pandas and write it with to_sql: all text into raw, converted into stg."""
    text = pd.read_csv(path, dtype=str, encoding="cp932")
    text.columns = pd.Index([column.name for column in kind.columns])
    typed = pd.DataFrame({column.name: _converted(text[column.name], column.type) for column in kind.columns})
    for frame, table in ((text, RAW), (typed, STG)):
        schema, name = table.split(".")
        frame.to_sql(
            name, engine, schema=schema, if_exists="append", index=False, method="multi", chunksize=_CHUNK_LINES
        )


def _converted(cells: "pd.Series[str]", cell_type: str) -> "pd.Series[object]":
    if cell_type == "date":
        return pd.to_datetime(cells.str.slice(0, 10), format="%Y/%m/%d").dt.date
    if cell_type == "time":
        return pd.to_datetime(cells, format="%H:%M").dt.time
    if cell_type in ("integer", "numeric"):
        numbers = pd.to_numeric(cells.str.replace(",", ""))
        return numbers.astype("Int64") if cell_type == "integer" else numbers
    return cells.str.lstrip("0") if cell_type == "code" else cells
