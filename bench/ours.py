"""Our own way, in the pieces that are timed: what a run's steps do, without Dagster around them."""

from pathlib import Path

from bench.rivals import OUR_VIEW, BenchError
from bench.stage import RECEIVE_KIND, Stage
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.catalog.relations import Catalog, Relation, Rollup
from mv_pipeline.database.connection import Connection, limit_waits
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.load import Upload
from mv_pipeline.refresh.restored import detect_restore
from mv_pipeline.refresh.rollup import update_rollup
from mv_pipeline.refresh.views import prune_change_log, read_view_status, refresh_view


def take(stage: Stage, connection: Connection, path: Path) -> Upload:
    """Take a file of the inbox.

    Raises:
        BenchError: it wasn't loaded.
    """
    upload = take_file(connection, stage.settings, find_kind(RECEIVE_KIND), path, "bench")
    if upload is None or upload.status != "loaded":
        raise BenchError(f"{path.name} wasn't loaded: {upload}")
    return upload


def roll_up(connection: Connection, rollup: Rollup) -> None:
    """What a rollup's step does."""
    with connection.transaction():
        limit_waits(connection, synchronous_commit="off")
        detect_restore(connection)
        update_rollup(connection, rollup)


def refresh(connection: Connection, view: Relation) -> bool:
    """What a view's step does: refresh it if anything upstream has changed.

    Returns:
        True if it was refreshed.
    """
    (status,) = read_view_status(connection, [view])
    if not status.stale:
        return False
    refresh_view(connection, view)
    return True


def roll_up_receive_daily(catalog: Catalog, connection: Connection) -> None:
    """Bring the rollup of the kind that came up to date; as in a run, nothing has changed in the list's others."""
    for rollup in rollups(catalog):
        if rollup.name in catalog.upstream(OUR_VIEW):
            roll_up(connection, rollup)


def refresh_receive_daily(catalog: Catalog, connection: Connection) -> bool:
    """Bring mv_receive_daily up to date: change log, rollup, refresh.

    Returns:
        True if there was anything to refresh.
    """
    roll_up_receive_daily(catalog, connection)
    return refresh(connection, catalog.relations[OUR_VIEW])


def refresh_rest(catalog: Catalog, connection: Connection) -> None:
    """Bring the other rollups and views downstream of the receive lists up to date, in order, and prune the log."""
    for rollup in rollups(catalog):
        if rollup.name not in catalog.upstream(OUR_VIEW):
            roll_up(connection, rollup)
    for view in downstream(catalog):
        if view.name != OUR_VIEW:
            refresh(connection, view)
    prune_change_log(connection)


def rollups(catalog: Catalog) -> list[Rollup]:
    """The rollups that read the receive lists, in order."""
    return [rollup for rollup in catalog.rollups if f"stg.{RECEIVE_KIND}" in catalog.upstream(rollup.name)]


def downstream(catalog: Catalog) -> list[Relation]:
    """The materialized views that read the receive lists, in refresh order."""
    return [view for view in catalog.materialized_views if f"stg.{RECEIVE_KIND}" in catalog.upstream(view.name)]
