"""Everything that is Dagster, and no logic: assets, checks, jobs, schedules, sensors, resources, pictures."""
