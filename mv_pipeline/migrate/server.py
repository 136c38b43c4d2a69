"""What a server, a database and its sessions are like where the pipeline can't work, or not as it should.

Read before anything is touched, and by the health checks. Nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alembic.script import ScriptDirectory
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from mv_pipeline.database.connection import SESSION, Connection, read_query
from mv_pipeline.migrate import revise

_OLDEST, _NEWEST_TESTED = 16, 18


@dataclass(frozen=True)
class ServerFault:
    """Something that is wrong with a server, a database or its sessions; each text without a full stop.

    Args:
        what: it is.
        remedy: what to do.
        level: how bad it is; fatal: the pipeline can't work there.
        means: what it means for the pipeline.
    """

    what: str
    remedy: str
    level: Literal["fatal", "failure", "warning"]
    means: str

    def __str__(self) -> str:
        """What it is and what to do."""
        return f"{self.what}. {self.remedy}."


def find_faults(connection: Connection, changed: Sequence[str] = ()) -> list[ServerFault]:
    """What is wrong there, the worst first.

    Args:
        changed: the tables whose rows are changed or deleted.
    """
    parameters = {
        "version": connection.info.server_version // 10000,
        "oldest": _OLDEST,
        "newest": _NEWEST_TESTED,
        "pid": connection.info.backend_pid,
        "pinned": Jsonb(SESSION["pinned"]),
        "named": Jsonb(SESSION["named"]),
        "pooler": SESSION["pooler"],
        "revision": revise.current(connection),
        "known": [script.revision for script in ScriptDirectory(revise.REVISIONS).walk_revisions()],
        "changed": [*changed],
    }
    cursor = connection.cursor(row_factory=class_row(ServerFault))
    return cursor.execute(read_query(__file__, "server_faults"), parameters).fetchall()
