"""What is a command of the console's own? It looks like one of the table of all admins' commands, and needs no server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from ..admin.command import AdminCommand
from ..admin.commands import CommandMisused

if TYPE_CHECKING:
    from .shell import Shell


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """One command that the console does itself."""

    name: str
    usage: str
    summary: str
    act: Callable[[Shell, TextIO, list[str]], int]
    """Called with the console, where its output goes, and its arguments; returns the status."""
    details: str = ""
    arguments: tuple[int, int] = (0, 0)
    """It takes at least and at most so many."""
    group: str = "console"

    def run(self, shell: Shell, out: TextIO, words: list[str]) -> int:
        """Do it; the status.

        Raises:
            CommandMisused: it has too many or too few arguments.
        """
        least, most = self.arguments
        if not least <= len(words) <= most:
            problem = "an argument is missing" if len(words) < least else f"unexpected extra argument ({' '.join(words[most:])})"
            raise CommandMisused(problem, where=self.name, cure=f"Usage: {self.usage}")
        return self.act(shell, out, words)


AnyCommand = AdminCommand | LocalCommand
