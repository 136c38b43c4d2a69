"""What the nightly housekeeping may do to the log, and which server the log's transaction numbers belong to."""

from mv_pipeline.migrate.revisions import run_script

revision = "0006"
down_revision = "0005"

# Create table and functions.
upgrade = run_script(__file__)
