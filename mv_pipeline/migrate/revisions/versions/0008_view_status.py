"""What each view reads, and log.v_view_status, the one place that says whether a view is stale or failing."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns and the view; `migrate` writes down what each relation reads."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
