"""The components that a job or a kit names: filters, aggregators, persistors, executors, launchers and others."""

if not __name__.startswith("sundog."):  # as a top-level package it would make a second copy of every class
    raise ImportError(f"import sundog.components instead of {__name__}: the folder is a part of the package sundog")
