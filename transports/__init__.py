"""Over which wires do frames travel, and what holds on all of them (link/)?"""

if not __name__.startswith("sundog."):  # as a top-level package it would make a second copy of every class
    raise ImportError(f"import sundog.transports instead of {__name__}: the folder is a part of the package sundog")
