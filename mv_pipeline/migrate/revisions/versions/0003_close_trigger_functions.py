"""Shut the trigger functions: nobody but their owner makes triggers with them, and no temporary object gets in.

They run with their owner's rights. Whoever could make a trigger with note_rows could hand it any expression; and a
temporary type named like one of theirs would be found before pg_catalog's, unless pg_temp is named last.
"""

from mv_pipeline.migrate.revisions import run_script

revision = "0003"
down_revision = "0002"

# Take the functions from PUBLIC and give them a search path without surprises.
upgrade = run_script(__file__)
