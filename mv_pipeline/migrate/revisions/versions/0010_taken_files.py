"""Where the file of each upload lies: in the inbox still, in the archive, or among the rejected ones."""

from mv_pipeline.migrate.revisions import run_script

revision = "0010"
down_revision = "0009"

# Create the table.
upgrade = run_script(__file__)
