"""Rollups of any grain: what each has seen of the change log, and what it hasn't."""

from mv_pipeline.migrate.revisions import run_script

revision = "0009"
down_revision = "0008"

# Add the tables and views; `migrate` makes and fills the new ones.
upgrade = run_script(__file__)
