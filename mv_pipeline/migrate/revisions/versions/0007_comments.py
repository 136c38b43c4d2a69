"""What was last said of a view in its comment, so that a comment of others is told from one of ours."""

from alembic import op

revision = "0007"
down_revision = "0006"

COMMENT = """
ALTER TABLE log.relation ADD COLUMN comment text;
COMMENT ON COLUMN log.relation.comment IS 'The comment as it was written from the file; NULL: others have written it.';
UPDATE log.relation SET comment = obj_description(to_regclass(name), 'pg_class');
"""


def upgrade() -> None:
    """Add the column; every comment until now was ours."""
    op.get_bind().exec_driver_sql(COMMENT)
