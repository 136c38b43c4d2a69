"""`demo`: sample files for all kinds through the steps that take any file, on the embedded server only."""

import tempfile
from datetime import date, timedelta
from pathlib import Path

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.runs import ingest_files
from mv_pipeline.cli.session import CommandError
from mv_pipeline.database.connection import Database, scalar
from mv_pipeline.demo import sample
from mv_pipeline.operations.uploads import UploadedFile
from mv_pipeline.settings import Settings

_DEMO = "demo"


def run_demo(settings: Settings, catalog: Catalog) -> list[UploadedFile]:
    """Fill empty input tables and drop sample files in; the same day's demo again changes nothing.

    Raises:
        CommandError: the database isn't the embedded one, or holds uploads that aren't the demo's.
    """
    if not settings.embedded:
        raise CommandError(
            "The demo writes made-up data, so it only runs on the embedded server. Unset MV_PIPELINE_DATABASE_URL."
        )
    with Database().transaction("demo") as connection:
        others = scalar(
            connection, "SELECT count(*) FROM log.upload_file WHERE uploaded_by IS DISTINCT FROM %s", [_DEMO]
        )
        if others:
            raise CommandError(
                f"This database holds {others} uploads that aren't the demo's. Set MV_PIPELINE_HOME to another folder."
            )
        yesterday: date = scalar(connection, "SELECT ref.business_date()") - timedelta(days=1)
        sample.fill_inputs(connection, yesterday)
    with tempfile.TemporaryDirectory() as folder:
        paths = sample.write_files(Path(folder), yesterday)
        files = [(path.parent.name, path) for path in paths]
        # Of what was never materialized the UI would warn at each view that reads it; pages without pictures look bare.
        uploads, _ = ingest_files(catalog, files, _DEMO, every_asset=True)
    return uploads
