"""Deleting what has been kept for long enough: files, rows of the log, Dagster's history; one file each.

What is kept for how long, and what stays for ever, stands in docs/housekeeping.md. Nothing is deleted anywhere else.
"""
