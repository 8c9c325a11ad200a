"""What does every participant need: plugins, roles, specs, payloads, the transport interface, errors?"""

if not __name__.startswith("sundog."):  # as a top-level package it would make a second copy of every class
    raise ImportError(f"import sundog.kernel instead of {__name__}: the folder is a part of the package sundog")
