"""Shut the trigger functions: nobody but their owner makes triggers with them, and no temporary object gets in.

They run with their owner's rights. Whoever could make a trigger with note_rows could hand it any expression; and a
temporary type named like one of theirs would be found before pg_catalog's, unless pg_temp is named last.
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Take the functions from PUBLIC and give them a search path without surprises."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
