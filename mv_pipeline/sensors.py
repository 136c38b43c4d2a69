"""The sensor that watches the inbox: one run for all files that have come to rest.

What a file is and when it rests is `intake.inbox`'s business; that a file is taken once is the database's. The
cursor only remembers what the last look saw, and how often a file has been tried.
"""

import json
import time
from pathlib import Path

import dagster as dg

from mv_pipeline.assets.intake import intake_step_name
from mv_pipeline.catalog.kinds import find_kind
from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.intake.inbox import InboxFile, InboxLook, look_into
from mv_pipeline.jobs import INGEST, downstream_keys, intake_keys
from mv_pipeline.settings import load_settings

_FIRST_WAIT_S = 10
_LONGEST_WAIT_S = 600
_SHOWN = 5
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def ingest_request(
    catalog: Catalog, files: list[tuple[str, str]], uploaded_by: str, tags: dict[str, str] | None = None
) -> dg.RunRequest:
    """The run that takes the given files and refreshes what lies downstream of their kinds.

    Args:
        catalog: the relations.
        files: kind and file name of each.
        uploaded_by: for the log.
        tags: for the run.
    """
    kinds = [find_kind(name) for name in dict.fromkeys(kind for kind, _ in files)]
    return dg.RunRequest(
        run_config={
            "ops": {
                intake_step_name(kind): {
                    "config": {
                        "files": [name for kind_name, name in files if kind_name == kind.name],
                        "uploaded_by": uploaded_by,
                    }
                }
                for kind in kinds
            }
        },
        asset_selection=[
            *(key for kind in kinds for key in intake_keys(kind)),
            *downstream_keys(catalog, {f"stg.{kind.name}" for kind in kinds}),
        ],
        tags={"mv_pipeline/files": str(len(files)), **(tags or {})},
    )


def build_inbox_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Make the inbox sensor; it is on by default and looks as often as Dagster lets it."""

    @dg.sensor(
        name="inbox",
        job_name=INGEST,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts one run for all CSV files that have come to rest in the inbox.",
    )
    def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        settings = load_settings()
        memory = _Memory(context.cursor)
        try:
            look = look_into(settings.inbox_dir)
        except OSError as error:
            return dg.SensorResult(skip_reason=f"The inbox {settings.inbox_dir} can't be read: {error.strerror}.")
        resting = look.at_rest(memory.stamps, settings.settle_seconds)
        memory.remember(look)
        under_way = resting and context.instance.get_run_records(
            dg.RunsFilter(job_name=INGEST, statuses=_UNDER_WAY), limit=1
        )
        if under_way:
            reason = f"Run {under_way[0].dagster_run.run_id} is under way. {_describe(look, settings.inbox_dir)}"
            return dg.SensorResult(skip_reason=reason, cursor=memory.cursor())
        due = memory.due(resting)
        if not due:
            waiting = f"{len(resting)} wait for another try. " if resting else ""
            return dg.SensorResult(skip_reason=waiting + _describe(look, settings.inbox_dir), cursor=memory.cursor())
        request = ingest_request(catalog, [(file.kind, file.path.name) for file in due], "inbox")
        return dg.SensorResult(run_requests=[request], cursor=memory.cursor())

    return inbox


class _Memory:
    """The cursor: the stamps of the last look, and for each file tried the stamp, the tries and the next time."""

    def __init__(self, cursor: str | None) -> None:
        state = json.loads(cursor) if cursor else {}
        self.stamps: dict[str, str] = state.get("stamps", {})
        self._tries: dict[str, tuple[str, int, float]] = {
            key: (tried[0], tried[1], tried[2]) for key, tried in state.get("tries", {}).items()
        }

    def remember(self, look: InboxLook) -> None:
        self.stamps = look.stamps()
        self._tries = {key: tried for key, tried in self._tries.items() if self.stamps.get(key) == tried[0]}

    def due(self, files: list[InboxFile]) -> list[InboxFile]:
        """The files to take now; one that a run has left behind waits longer each time."""
        now = time.time()
        due = [file for file in files if file.key not in self._tries or self._tries[file.key][2] <= now]
        for file in due:
            count = self._tries[file.key][1] + 1 if file.key in self._tries else 1
            wait = min(_FIRST_WAIT_S * 2 ** (count - 1), _LONGEST_WAIT_S)
            self._tries[file.key] = (file.stamp, count, now + wait)
        return due

    def cursor(self) -> str:
        return json.dumps({"stamps": self.stamps, "tries": self._tries})


def _describe(look: InboxLook, inbox: Path) -> str:
    seen = f"{len(look.files)} CSV files in {inbox}, none new at rest." if look.files else f"No CSV file in {inbox}."
    if not look.left_alone:
        return seen
    names = "; ".join(f"{name} ({reason})" for name, reason in list(look.left_alone.items())[:_SHOWN])
    more = f" and {len(look.left_alone) - _SHOWN} more" if len(look.left_alone) > _SHOWN else ""
    return f"{seen} Left alone: {names}{more}."
