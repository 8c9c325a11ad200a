"""What is a participant handed, and what does it run?"""

if not __name__.startswith("sundog."):  # as a top-level package it would make a second copy of every class
    raise ImportError(f"import sundog.kits instead of {__name__}: the folder is a part of the package sundog")
