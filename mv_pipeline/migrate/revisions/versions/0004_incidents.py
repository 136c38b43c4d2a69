"""What went wrong, since when, and who has been told: one row per incident."""

from mv_pipeline.migrate.revisions import run_script

revision = "0004"
down_revision = "0003"

# Create the table.
upgrade = run_script(__file__)
