"""What is said of a file that cannot be read as a document, whichever form it has?"""

from __future__ import annotations

from ...kernel.errors import SpecError


class DocumentUnreadable(SpecError):
    """A JSON or YAML file cannot be read.

    Cause: it is missing, too large, not UTF-8, there twice in two forms, or has a slip in its syntax at the place named.

    Cure: look at the place named; an editor that knows JSON and YAML marks a slip.
    """

    code = "SD-1144"
