"""What every run is given: the warehouse database, and a sign of life in it; and the end of runs that give none.

A run keeps a session open until its end is written down, so that nobody has to believe a status that a dead process
left behind: after a SIGKILL it stays “started” for ever, and nobody would begin another run.
"""

import contextlib
import threading
import time
from collections.abc import Mapping

import dagster as dg
import psycopg

from mv_pipeline.database.connection import Connection, Database, sessions
from mv_pipeline.defs.jobs import own_tags

RUN = "run"
"""The purpose of the session that is a run's sign of life; the run's id follows."""

_PULSE_S = 1.0
# The sign of life comes right after the start; a session that is lost is renewed after a pulse.
_FIRST_SIGN_S = 30.0
_GONE_S = 10.0
_POLL_EVERY_S = 0.25
_BEGUN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dg.resource(description="The warehouse database. Meanwhile a session in it is the run's sign of life.")
def database_resource(context: dg.InitResourceContext) -> Database:
    """Lend the database to a run, and begin its sign of life."""
    database = Database()
    if context.run and context.instance:
        if own_tags().keys().isdisjoint(context.run.tags):
            # Dagster's own job of all assets has no tags.
            context.instance.add_run_tags(context.run.run_id, own_tags())
        _give_sign_of_life(database, context.instance, context.run.run_id)
    return database


def _give_sign_of_life(database: Database, instance: dg.DagsterInstance, run_id: str) -> None:
    purpose = f"{RUN} {run_id}"
    ended = threading.Event()

    def end(entry: dg.EventLogEntry) -> None:
        # Resources are gone before the end is stored: without a sign meanwhile, the run would be taken for dead.
        if entry.dagster_event and entry.dagster_event.is_job_event:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                ended.set()

    def keep_open(connection: Connection) -> None:
        while not ended.wait(_PULSE_S):
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                # Terminated, idle for too long, or the server was restarted.
                connection.close()
                with contextlib.suppress(psycopg.OperationalError):
                    connection = database.connect(purpose)
        connection.close()

    instance.add_event_listener(run_id, end)
    threading.Thread(target=keep_open, args=(database.connect(purpose),), name=purpose, daemon=True).start()


def end_dead_runs(instance: dg.DagsterInstance, own: Mapping[str, str]) -> None:
    """Mark runs as failed that have begun, and have neither a sign of life for a while nor an end.

    A run that is queued or starting is left to Dagster's own time limit. Only one sensor does this, so that no run is
    ended twice.

    Args:
        instance: may be shared by several installations.
        own: the tags of this installation's runs.

    Raises:
        psycopg.OperationalError: the warehouse database can't be asked for signs of life.
    """
    begun = instance.get_run_records(dg.RunsFilter(statuses=_BEGUN, tags=own))
    silent = {
        record.dagster_run.run_id
        for record in begun
        if record.start_time is not None and time.time() - record.start_time > _FIRST_SIGN_S
    }
    deadline = time.monotonic() + _GONE_S
    while silent:
        with Database().connect("signs of life") as connection:
            silent -= {purpose.removeprefix(f"{RUN} ") for purpose in sessions(connection, f"{RUN} ")}
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_EVERY_S)
    # Now that the sign was missed: it outlasts the writing of the end.
    for run in instance.get_runs(dg.RunsFilter(run_ids=[*silent], statuses=_BEGUN)) if silent else ():
        instance.report_run_failed(run, "The process of this run is gone; the next run goes on.")
