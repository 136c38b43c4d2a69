"""The history of the tables, as Alembic revisions: DDL only."""

from collections.abc import Callable
from pathlib import Path

from alembic import op


def run_script(revision: str) -> Callable[[], None]:
    """What upgrades by the SQL script beside a revision.

    Args:
        revision: its `__file__`.
    """
    script = Path(revision).with_suffix(".sql")
    return lambda: op.get_bind().exec_driver_sql(script.read_text(encoding="utf-8")).close()
