"""From a file in the inbox to rows in raw and stg: read, validate, load, archive or reject."""
