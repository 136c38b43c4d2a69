"""What the database looks like: Alembic revisions, the CSV kinds' tables, views, reference data."""
