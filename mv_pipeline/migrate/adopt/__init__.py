"""Moving into a database that others made; needed once."""
