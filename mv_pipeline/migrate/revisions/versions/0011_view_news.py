"""What each materialized view hasn't seen, and since when; one rule for whether this server counted transactions."""

from mv_pipeline.migrate.revisions import run_script

revision = "0011"
down_revision = "0010"

# Add log.v_server and log.v_view_news, and let them say what others had in their own words.
upgrade = run_script(__file__)
