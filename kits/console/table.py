"""LocalCommand: a command of the console's own, which stands in the same help as the others and needs no server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TextIO

from ...kernel.errors import SundogError
from ..admin.commands import CommandMisused
from ..admin.session import Session


class Console(Protocol):
    """The console, as its own commands see it."""

    session: Session
    err: TextIO
    """Where words on an error go."""
    is_over: bool
    """Whether `bye` was said."""

    def do(self, text: str, out: TextIO, *, as_json: bool = False) -> int:
        """Do one line; what a shell should return."""

    def nested(self, most: int, too_deep: SundogError) -> AbstractContextManager[None]:
        """Around a script: so many may be inside each other. Raises: too_deep."""


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """One command that the console does itself."""

    name: str
    usage: str
    summary: str
    act: Callable[[Console, TextIO, list[str]], int]
    """Called with the console, where its output goes, and its arguments; returns the status."""
    details: str = ""
    arguments: tuple[int, int] = (0, 0)
    """It takes at least and at most so many."""
    group: str = "console"

    def run(self, console: Console, out: TextIO, words: list[str]) -> int:
        """Do it; the status.

        Raises:
            CommandMisused: it has too many or too few arguments.
        """
        least, most = self.arguments
        if not least <= len(words) <= most:
            problem = "an argument is missing" if len(words) < least else f"unexpected extra argument ({' '.join(words[most:])})"
            raise CommandMisused(problem, where=self.name, cure=f"Usage: {self.usage}")
        return self.act(console, out, words)
