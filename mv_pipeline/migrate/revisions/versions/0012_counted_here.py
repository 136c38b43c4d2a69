"""One rule for whether this server counted the log's transactions; old failures of rollups are forgotten too."""

from mv_pipeline.migrate.revisions import run_script

revision = "0012"
down_revision = "0011"

# Replace the views and functions that had the rule in their own words; their columns stay as they are.
upgrade = run_script(__file__)
