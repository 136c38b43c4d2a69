"""What each materialized view hasn't seen, and since when it can have waited; failures that a refresh outlived."""

from mv_pipeline.migrate.revisions import run_script

revision = "0011"
down_revision = "0010"

# Add log.v_view_news, and make log.v_view_status anew on it.
upgrade = run_script(__file__)
