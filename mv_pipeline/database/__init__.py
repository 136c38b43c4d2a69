"""The way to PostgreSQL: connections, the embedded server, Dagster's own database. No table or view is known here."""
