"""The server: supervises runs, knows all jobs."""
