"""What was last said of a view in its comment, so that a comment of others is told from one of ours."""

from mv_pipeline.migrate.revisions import run_script

revision = "0007"
down_revision = "0006"

# Add the column; every comment until now was ours.
upgrade = run_script(__file__)
