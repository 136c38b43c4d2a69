"""A real receiver on a local port, and a pipeline that is inspected again and again while time passes."""

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.database.connection import Connection
from mv_pipeline.operations.alerts import IncidentUpdate, report
from mv_pipeline.operations.installation import Installation
from mv_pipeline.settings import TIME_ZONE, load_settings

ABSENT_PORT = 9
CANARY = "c4n4ry"


class Receiver:
    """An HTTP server that keeps what it is sent; it may be told to refuse everything."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.refuses = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not receiver.refuses:
                    receiver.messages.append(body)
                self.send_response(500 if receiver.refuses else 200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Stay silent."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL by which apprise reaches it."""
        return f"json://user:{CANARY}@127.0.0.1:{self._server.server_port}/"

    def take(self) -> list[tuple[str, str]]:
        """Level and title of what has come since the last time."""
        taken = [(message["type"], message["title"]) for message in self.messages]
        self.messages.clear()
        return taken

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver(settings: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the settings name."""
    made = Receiver()
    monkeypatch.setenv("MV_PIPELINE_ALERT_URLS", made.url)
    yield made
    made.close()


@pytest.fixture
def second(receiver: Receiver) -> Iterator[Receiver]:
    """Another receiver; the test says who it is for."""
    made = Receiver()
    yield made
    made.close()


@dataclass
class Plant:
    """The pipeline as an inspection sees it, at a time that the test moves on."""

    connection: Connection
    catalog: Catalog
    instance: dg.DagsterInstance
    now: datetime
    repository: dg.RepositoryDefinition
    beating: bool = True

    def inspect(self) -> IncidentUpdate:
        """Inspect once, as the sensor and the command do."""
        if self.beating:
            self.beat()
        with self.installation() as installation:
            return report(installation)

    def installation(self) -> Installation:
        """The pipeline as health checks read it."""
        opened = nullcontext(self.instance)
        return Installation(load_settings(), self.catalog, self.repository, "alerts", self.now, lambda _: opened)

    def wait(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def beat(self) -> None:
        """Let every part of the daemon give a sign of life."""
        for name in self.instance.get_required_daemon_types():
            self.instance.add_daemon_heartbeat(DaemonHeartbeat(self.now.timestamp(), name, None, None))

    def tick(self, name: str, status: TickStatus = TickStatus.SKIPPED, error: str = "") -> None:
        """Let a sensor or schedule tick now."""
        state = self._state(name)
        self.instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=name,
                instigator_type=state.instigator_type,
                status=status,
                timestamp=self.now.timestamp(),
                selector_id=state.selector_id,
                error=SerializableErrorInfo(f"{error}\n", [], None) if error else None,
            )
        )

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a sensor or schedule on or off, as its page does."""
        status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
        self.instance.update_instigator_state(self._state(name).with_status(status))

    def _state(self, name: str) -> InstigatorState:
        location = RegisteredCodeLocationOrigin("mv_pipeline")
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
        known = self.instance.get_instigator_state(origin.get_id(), origin.get_selector().get_id())
        if known:
            return known
        schedule = name in {definition.name for definition in self.repository.schedule_defs}
        kind = dg._core.definitions.run_request.InstigatorType
        return self.instance.add_instigator_state(
            InstigatorState(
                origin,
                kind.SCHEDULE if schedule else kind.SENSOR,
                InstigatorStatus.RUNNING,
                ScheduleInstigatorData("10 0 * * *", self.now.timestamp()) if schedule else SensorInstigatorData(),
            )
        )


def tells_once(plant, receiver, trouble, repair):
    """Let trouble begin, last and end; return its one message. Nothing else may be sent."""
    plant.inspect()
    assert receiver.take() == []

    trouble()
    plant.inspect()
    plant.wait(minutes=1)
    plant.inspect()
    (begun,) = receiver.messages
    receiver.messages.clear()
    for _ in range(3):
        plant.wait(minutes=1)
        plant.inspect()
    assert receiver.take() == []

    repair()
    for _ in range(5):
        plant.wait(minutes=1)
        plant.inspect()
    ((level, title),) = receiver.take()
    assert (level, title) == ("success", f"解決 Resolved: {begun['title']}"[:200])
    opened = plant.connection.execute("SELECT count(*), count(closed_at), count(notified_at) FROM log.incident")
    assert opened.fetchone() == (1, 1, 1)
    return begun


@pytest.fixture(scope="session")
def repository(definitions: dg.Definitions) -> dg.RepositoryDefinition:
    return definitions.get_repository_def()


@pytest.fixture
def plant(
    connection: Connection,
    catalog: Catalog,
    lasting: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    receiver: Receiver,
) -> Plant:
    return Plant(connection, catalog, lasting, datetime.now(TIME_ZONE), repository)
