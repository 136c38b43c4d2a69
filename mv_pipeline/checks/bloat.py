"""How much of a materialized view's file is rows, and how much is what refreshes have left behind.

REFRESH … CONCURRENTLY writes each changed row anew and leaves the old one dead until a vacuum lets its place be used
again. What no vacuum may touch, because an old transaction could still see it, makes the file grow without end.
"""

from dataclasses import dataclass

from psycopg import sql

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, identifier, one_row

# A view that changes wholly at each refresh needs twice its rows; autovacuum comes once a minute at the soonest.
_TIMES = 4
# Below this nobody gains anything, and a reader notices nothing.
_SMALL_BYTES = 10_000_000
_PAGE_BYTES = 8192
_PAGE_HEADER_BYTES = 24
_LINE_POINTER_BYTES = 4


@dataclass(frozen=True)
class Bloat:
    """A view's file compared with its rows.

    Args:
        rows: that it has.
        dead_rows: that the server's statistics know of.
        found_bytes: of the file, without indexes.
        needed_bytes: that the rows would fill if they were written now.
    """

    rows: int
    dead_rows: int
    found_bytes: int
    needed_bytes: int

    @property
    def allowed_bytes(self) -> int:
        """The size from which it is too much."""
        return max(_TIMES * self.needed_bytes, _SMALL_BYTES)

    @property
    def too_much(self) -> bool:
        """True if the file is far larger than its rows need."""
        return self.found_bytes > self.allowed_bytes


def measure(connection: Connection, view: Relation) -> Bloat:
    """Measure a materialized view; reads all of its rows, which are few."""
    rows, row_bytes, found, dead = one_row(
        connection,
        # A row as a value has the same header as in the file; there it begins at a multiple of eight.
        sql.SQL(
            "SELECT count(*), coalesce(sum((pg_column_size(v.*) + 7) / 8 * 8), 0), "
            "pg_relation_size(%(name)s::regclass), coalesce(pg_stat_get_dead_tuples(%(name)s::regclass), 0) "
            "FROM {} AS v"
        ).format(identifier(view.name)),
        {"name": view.name},
    )
    needed = row_bytes + rows * _LINE_POINTER_BYTES
    pages = -(-needed // (_PAGE_BYTES - _PAGE_HEADER_BYTES))
    return Bloat(rows, dead, found, int(pages) * _PAGE_BYTES)
