"""Prometheus metrics, read from the databases at each scrape, so that they are the same after a restart.

What each one means stands in docs/metrics.md. Nothing is counted in memory and nothing is written here.
"""
