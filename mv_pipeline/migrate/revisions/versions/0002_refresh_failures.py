"""The log of refreshes that failed for good."""

from mv_pipeline.migrate.revisions import run_script

revision = "0002"
down_revision = "0001"

# Create the table.
upgrade = run_script(__file__)
