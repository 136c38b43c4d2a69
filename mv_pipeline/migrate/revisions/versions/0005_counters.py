"""Totals of refreshes and failures, which outlive the rows that they count."""

from mv_pipeline.migrate.revisions import run_script

revision = "0005"
down_revision = "0004"

# Create the table and count what the log holds already.
upgrade = run_script(__file__)
