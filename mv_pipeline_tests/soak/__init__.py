"""The soak: a real daemon, everybody who works beside it, and faults, for as long as it is told; `make soak`."""
