"""In which order are sites asked to do what?"""

if not __name__.startswith("sundog."):  # as a top-level package it would make a second copy of every class
    raise ImportError(f"import sundog.workflows instead of {__name__}: the folder is a part of the package sundog")
