"""Shut the trigger functions: nobody but their owner makes triggers with them, and no temporary object gets in.

They run with their owner's rights. Whoever could make a trigger with note_rows could hand it any expression; and a
temporary type named like one of theirs would be found before pg_catalog's, unless pg_temp is named last.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Take the functions from PUBLIC and give them a search path without surprises."""
    for function in ("log.note_rows()", "log.note_truncate()"):
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, pg_temp")
