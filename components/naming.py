"""Which tensors does a list of names, or a regular expression, stand for?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..kernel.errors import ComponentError


class BadPattern(ComponentError):
    """A pattern for tensor names is no regular expression.

    Cause: a typing mistake; or a file pattern like *.bias: as a regular expression that is bias$.

    Cure: mend the pattern, or write the names as a list: ["fc.weight", "fc.bias"].
    """

    code = "SD-3021"


def matcher(names: str | Sequence[str] | None) -> Callable[[str], bool]:
    """Whether a name is one of a list, or a regular expression is found in it; nothing matches None or "".

    Raises:
        BadPattern: the regular expression is malformed.
    """
    if not isinstance(names, str):
        return frozenset(names or ()).__contains__
    if not names:
        return lambda _name: False
    try:
        found = re.compile(names).search
    except re.error as exc:
        raise BadPattern(f"{names!r}: {exc}") from exc
    return lambda name: found(name) is not None
