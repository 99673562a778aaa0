"""Seeds, schedules, checkpoints, journals: what every program needs to run."""
