"""What Dagster's storage tells: the newest result of each check, and when each daemon was last alive."""

import math
import time
from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.defs.checks import check_keys


def read_storage(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[Metric]:
    """Read everything that Dagster knows and the plant's database doesn't."""
    yield from _checks(instance, catalog)
    yield _heartbeats(instance)


def _checks(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[Metric]:
    labels = ["asset", "check", "severity"]
    passed = GaugeMetricFamily("mv_check_passed", "1 if the newest result of a check was good, else 0.", labels=labels)
    at = GaugeMetricFamily("mv_check_timestamp_seconds", "When a check last gave a result.", labels=labels)
    for record in _newest_results(instance, catalog):
        result = record.evaluation
        if result and record.event:
            values = [".".join(record.key.asset_key.path), record.key.name, result.severity.value]
            passed.add_metric(values, result.passed)
            at.add_metric(values, record.event.timestamp)
    yield from (passed, at)


def _newest_results(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[AssetCheckExecutionRecord]:
    """Each check's newest result; one query, and another one for each check that a run is just about to make."""
    storage = instance.event_log_storage
    for key, record in sorted(storage.get_latest_asset_check_execution_by_key(check_keys(catalog)).items()):
        if record.status in COMPLETED:
            yield record
        else:
            yield from storage.get_asset_check_execution_history(key, limit=1, status=COMPLETED)


def _heartbeats(instance: dg.DagsterInstance) -> Metric:
    family = GaugeMetricFamily(
        "mv_daemon_heartbeat_age_seconds", "Time since a part of the daemon was alive; +Inf: never.", labels=["daemon"]
    )
    heartbeats = instance.get_daemon_heartbeats()
    for daemon in sorted(instance.get_required_daemon_types()):
        heartbeat = heartbeats.get(daemon)
        family.add_metric([daemon], time.time() - heartbeat.timestamp if heartbeat else math.inf)
    return family
