"""What log.upload_file tells of uploads: how many, why rejected, and how fast they went in."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.database.connection import Connection
from mv_pipeline.intake.rejection import Code

STATUSES = ("loaded", "duplicate", "rejected")


def read_uploads(connection: Connection) -> Iterator[Metric]:
    """Read everything about uploads."""
    kinds = {(kind.version.upper(), kind.list.csv_type): kind.name for kind in KINDS}
    uploads = CounterMetricFamily("mv_uploads", "Uploads by what became of them.", labels=["kind", "status"])
    newest = GaugeMetricFamily(
        "mv_last_upload_timestamp_seconds", "When the newest upload came.", labels=["kind", "status"]
    )
    lines = CounterMetricFamily("mv_intake_lines", "Data lines of loaded files that were timed.", labels=["kind"])
    seconds = CounterMetricFamily("mv_intake_seconds", "Time that loading them took.", labels=["kind"])
    speed = GaugeMetricFamily(
        "mv_intake_lines_per_second", "Data lines a second of the newest loaded file.", labels=["kind"]
    )
    found = {
        (kinds.get((file_type, csv_type)), status): numbers
        for file_type, csv_type, status, *numbers in connection.execute(_UPLOADS)
    }
    for name in kinds.values():
        for status in STATUSES:
            count, at, *_ = found.get((name, status), (0, None))
            uploads.add_metric([name, status], count)
            if at is not None:
                newest.add_metric([name, status], at)
        *_, loaded_lines, loaded_seconds, last_speed = found.get((name, "loaded"), (0, 0.0, None))
        lines.add_metric([name], loaded_lines)
        seconds.add_metric([name], loaded_seconds)
        if last_speed is not None:
            speed.add_metric([name], last_speed)
    yield from (uploads, newest, lines, seconds, speed)
    yield _rejected_cells(connection)


# `seconds` is missing from what was loaded before it was measured.
_UPLOADS = """
WITH upload AS (
    SELECT id, file_type, csv_type, uploaded_at,
        CASE
            WHEN processing_status = 'failed' THEN 'rejected'
            WHEN processing_status <> 'success' THEN processing_status
            WHEN metadata ? 'duplicate_of' THEN 'duplicate'
            ELSE 'loaded'
        END AS status,
        CASE WHEN metadata ? 'seconds' THEN row_count END AS lines,
        (metadata->>'seconds')::float AS seconds
    FROM log.upload_file
),
total AS (
    SELECT file_type, csv_type, status, count(*) AS uploads, max(id) AS newest,
        extract(epoch FROM max(uploaded_at))::float AS at,
        coalesce(sum(lines), 0) AS lines, coalesce(sum(seconds), 0) AS seconds
    FROM upload GROUP BY file_type, csv_type, status
)
SELECT file_type, csv_type, status, uploads, at, lines, seconds,
    (SELECT row_count / nullif((metadata->>'seconds')::float, 0) FROM log.upload_file WHERE id = newest)
FROM total
"""


def _rejected_cells(connection: Connection) -> Metric:
    family = CounterMetricFamily(
        "mv_rejected_cells", "Problems in rejected files, as far as their error reports list them.", labels=["code"]
    )
    found: dict[str, int] = dict(
        connection.execute(
            "SELECT key, sum(value::bigint)::bigint FROM log.upload_file, jsonb_each_text(metadata->'codes') "
            "WHERE processing_status = 'failed' AND jsonb_typeof(metadata->'codes') = 'object' GROUP BY key"
        ).fetchall()
    )
    for code in Code:
        family.add_metric([code], found.get(code, 0))
    return family
