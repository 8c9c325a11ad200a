"""How is a file of commands carried out? Line by line, up to the first that fails, which is named."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec

from ...kernel.errors import AdminError
from ..admin.commands import SUCCESS
from ..admin.text import show
from ..commands.text import trouble
from ..protocol.answers import Problem
from .line import COMMENT
from .table import Console

STDIN = "-"
MOST_NESTED = 10
"""A script may run scripts; one that runs itself comes to this."""


class ScriptStopped(AdminError):
    """A script was not carried out to its end, because one of its commands failed.

    Cause: the error of that command stands above; the message has its line.

    Cure: mend what that error names. Commands before the line were done; start again behind them.
    """

    code = "SD-6030"


class ScriptUnreadable(AdminError):
    """A script cannot be read.

    Cause: there is no such file, or it is no text.

    Cure: compare the name; it is relative to the local directory (`lpwd`).
    """

    code = "SD-6031"


class ScriptsNested(AdminError):
    """Scripts run scripts more than ten deep.

    Cause: a script has a `source` line that leads back to itself.

    Cure: take that line out.
    """

    code = "SD-6032"


class ScriptLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `--json` tells of one line of a script: its answer, or the error that ended the script."""

    line: int
    """From 1."""
    command: str
    answer: msgspec.Raw | str | None = None
    """The command's own document; the text of a command of the console's own."""
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Commands, one a line."""

    name: str
    lines: list[str]

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a file, or standard input for `-`.

        Raises:
            ScriptUnreadable: it cannot be read.
        """
        try:
            text = sys.stdin.read() if name == STDIN else Path(name).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise ScriptUnreadable(str(exc), where=name) from exc
        return cls("stdin" if name == STDIN else name, text.splitlines())

    def run(self, console: Console, out: TextIO) -> int:
        """Carry it out; the status of the line that failed, or 0.

        Raises:
            ScriptsNested: see there.
        """
        with console.nested(MOST_NESTED, ScriptsNested(f"{self.name} would be number {MOST_NESTED + 1}", where=self.name)):
            for number, text in self._commands():
                status = console.do(text, out)
                if status != SUCCESS:
                    show(trouble(Problem.of(self._stopped(number, text))), console.err)
                    return status
                if console.is_over:
                    break
        return SUCCESS

    def run_as_json(self, console: Console, out: TextIO) -> int:
        """The same, and one JSON array of `ScriptLine` at the end, whatever comes."""
        done: list[ScriptLine] = []
        status = SUCCESS
        for number, text in self._commands():
            status, row = _one_as_json(console, number, text)
            done.append(row)
            if status != SUCCESS:
                show(trouble(Problem.of(self._stopped(number, text))), console.err)
            if status != SUCCESS or console.is_over:
                break
        out.write(msgspec.json.format(msgspec.json.encode(done), indent=2).decode() + "\n")
        return status

    def _commands(self) -> list[tuple[int, str]]:
        numbered = ((number, line.strip()) for number, line in enumerate(self.lines, start=1))
        return [(number, line) for number, line in numbered if line and not line.startswith(COMMENT)]

    def _stopped(self, number: int, text: str) -> ScriptStopped:
        return ScriptStopped(f"stopped at {text!r}", where=f"{self.name}:{number}")


def _one_as_json(console: Console, number: int, text: str) -> tuple[int, ScriptLine]:
    said = io.StringIO()
    status = console.do(text, said, as_json=True)
    words = said.getvalue()
    if not words.lstrip().startswith("{"):
        return status, ScriptLine(number, text, words)
    document: dict[str, Any] = msgspec.json.decode(words)
    if status != SUCCESS and "error" in document:
        return status, ScriptLine(number, text, error=msgspec.convert(document["error"], Problem))
    return status, ScriptLine(number, text, msgspec.Raw(words.encode()))
