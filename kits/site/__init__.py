"""A site: takes part in runs."""
