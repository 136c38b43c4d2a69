"""A replica identity for the table that has no key, so that all tables may be published."""

from mv_pipeline.migrate.revisions import run_script

revision = "0012"
down_revision = "0011"

# Set it.
upgrade = run_script(__file__)
