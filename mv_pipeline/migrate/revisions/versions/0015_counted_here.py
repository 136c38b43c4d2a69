"""One rule for whether this server counted the log's transactions; old failures of rollups are forgotten too."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Replace the views and functions that had the rule in their own words; their columns stay as they are."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
