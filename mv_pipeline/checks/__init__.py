"""Is it right: the rules that data has to keep, and the full recompute that proves it. Nothing of Dagster is known."""
