"""What there is: the CSV kinds and the SQL relations. Nothing in here opens a connection."""
