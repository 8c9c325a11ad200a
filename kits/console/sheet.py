"""Where does the output of a command go: with colours or without, laid out for which width?"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import TextIO

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Sheet(io.StringIO):
    """Writes on to a file what is laid out for the screen, so that a file gets the bytes that would be shown.

    Args:
        target: where it goes.
        is_terminal: whether it is laid out for a terminal, with its width.
        has_colours: whether colours, bold and dim go along.
    """

    def __init__(self, target: TextIO, *, is_terminal: bool, has_colours: bool) -> None:
        super().__init__()
        self._target = target
        self._is_terminal = is_terminal
        self._has_colours = has_colours

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str, /) -> int:
        self._target.write(text if self._has_colours else _COLOURS.sub("", text))
        return len(text)

    def flush(self) -> None:
        self._target.flush()


def wants_colours(out: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are wanted there: it is a terminal, and NO_COLOR is not set."""
    return out.isatty() and not environment.get("NO_COLOR")
