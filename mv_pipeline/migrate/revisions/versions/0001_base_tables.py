"""Schemas, the business date, and every table that is not a CSV kind's own.

A database that was made by others has most of these tables; what is compatible is adopted (see `migrate.adopt`).
The tables are in the SQL file of the same name, functions and comments in 0001_functions.sql.
"""

import re
from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

SCHEMAS = ("raw", "stg", "ref", "kpi", "mart", "log")

# By name, so that a table which exists already can be compared with what is wanted.
TABLES: dict[str, str] = dict(
    re.findall(r"CREATE TABLE (\S+) ([^;]+);", Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
)

# Columns by table; what an adopted table has not is added where it is adopted.
INDEXES = {
    "daily_target_plan_ddate": ("mart.daily_target_plan", ("ddate",)),
    "monthly_targets_month": ("kpi.monthly_targets", ("metric", "segment", "month_date")),
    "upload_file_hash": ("log.upload_file", ("file_hash",)),
    "change_note_relation": ("log.change_note", ("relation",)),
    "view_refresh_relation": ("log.view_refresh", ("relation", "id")),
}


def upgrade() -> None:
    """Create what is below the CSV kinds' tables and the views; a table that exists already is left as it is."""
    bind = op.get_bind()
    for schema in SCHEMAS:
        bind.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    missing = [name for name in TABLES if bind.exec_driver_sql(f"SELECT to_regclass('{name}')").scalar() is None]
    for name in missing:
        bind.exec_driver_sql(f"CREATE TABLE {name} {TABLES[name]}")
    for index, (table, columns) in INDEXES.items():
        if table in missing:
            bind.exec_driver_sql(f"CREATE INDEX {index} ON {table} ({', '.join(columns)})")
    bind.exec_driver_sql(Path(__file__).with_name("0001_functions.sql").read_text(encoding="utf-8"))
