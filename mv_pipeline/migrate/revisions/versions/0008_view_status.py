"""What each view reads, and log.v_view_status, the one place that says whether a view is stale or failing."""

from mv_pipeline.migrate.revisions import run_script

revision = "0008"
down_revision = "0007"

# Add the columns and the view; `migrate` writes down what each relation reads.
upgrade = run_script(__file__)
