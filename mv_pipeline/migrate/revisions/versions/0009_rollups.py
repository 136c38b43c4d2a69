"""Rollups of any grain: what each has seen of the change log, and what it hasn't."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables and views; `migrate` makes and fills the new ones."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
