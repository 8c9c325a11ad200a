"""A federation on one machine, with real processes."""
