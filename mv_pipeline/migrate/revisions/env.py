"""Alembic's entry point: runs the revisions in the caller's transaction.

The version table is in schema log under a name of its own, apart from any other software's.
"""

from alembic import context
from sqlalchemy import text

connection = context.config.attributes["connection"]
connection.execute(text("CREATE SCHEMA IF NOT EXISTS log"))
context.configure(
    connection=connection, version_table="mv_pipeline_version", version_table_schema="log", transactional_ddl=True
)
context.run_migrations()
