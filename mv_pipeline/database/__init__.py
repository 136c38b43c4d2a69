"""The way to PostgreSQL: connections, the embedded server, Dagster's own database. No table of the plant is known."""
