"""What does one line of the console say: which command, and where does its output go?"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..admin.commands import CommandMisused

COMMENT = "#"
_PARTS = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|>>?""")
"""What is quoted, so that it is skipped, and what redirects."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, taken apart."""

    command: str
    """The command and its arguments as they were typed; empty when the line says nothing."""
    file: Path | None = None
    """Where its output goes instead of the screen."""
    appends: bool = False
    """`>>`: to the end of the file, which stays as it is."""

    @property
    def words(self) -> list[str]:
        """The command and its arguments, without their quotes.

        Raises:
            CommandMisused: a quotation is not closed.
        """
        return _split(self.command)


def read_line(text: str) -> Line:
    """Take a line apart. One that is empty or begins with `#` says nothing.

    Raises:
        CommandMisused: behind `>` or `>>` there is not one file, or a quotation is not closed.
    """
    text = text.strip()
    if not text or text.startswith(COMMENT):
        return Line("")
    sign = next((part for part in _PARTS.finditer(text) if part[0].startswith(">")), None)
    if sign is None:
        return Line(text)
    names = _split(text[sign.end() :])
    if len(names) != 1 or ">" in names[0]:
        raise CommandMisused(
            f"wanted one file behind {sign[0]}, got {text[sign.end() :].strip()!r}", where=text, cure="Usage: COMMAND > FILE"
        )
    return Line(text[: sign.start()].strip(), Path(names[0]).expanduser(), sign[0] == ">>")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise CommandMisused(str(exc), where=text) from exc
