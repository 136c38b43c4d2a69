"""What each materialized view hasn't seen, and since when it can have waited; failures that a refresh outlived."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0011"


def upgrade() -> None:
    """Add log.v_view_news, and make log.v_view_status anew on it."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
