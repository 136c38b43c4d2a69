"""Where the file of each upload lies: in the inbox still, in the archive, or among the rejected ones."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
