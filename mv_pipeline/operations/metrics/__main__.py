"""What `mv-pipeline metrics` starts, `python -m mv_pipeline.operations.metrics`: serves until it is told to stop."""

import signal
import threading
from types import FrameType

from prometheus_client import CollectorRegistry, start_http_server

from mv_pipeline.catalog.relations import load_catalog
from mv_pipeline.database.connection import Database
from mv_pipeline.operations.logging import configure_logs, logger
from mv_pipeline.operations.metrics.collector import PlantCollector
from mv_pipeline.settings import HOST, load_settings


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = load_settings()
    configure_logs(settings)
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is the system's
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    registry = CollectorRegistry()
    registry.register(PlantCollector(Database(), load_catalog(settings.sql_dir)))
    server, thread = start_http_server(settings.metrics_port, HOST, registry)
    logger.info("Metrics are served on http://%s:%s/metrics", HOST, settings.metrics_port)
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    main()
