"""How does somebody type a line at a terminal? With completion, history, and news above the line."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import StdoutProxy

HISTORY = "state/console_history"
"""Below the admin's folder."""


class LineDiscarded(Exception):
    """Ctrl-C came while a line was edited, and the line was thrown away."""


class Prompt:
    """Reads lines from the terminal.

    Args:
        words: what stands before the line.
        completer: asked on a thread of its own when TAB is pressed.
        folder: the admin's; the history is kept in it.
    """

    def __init__(self, words: str, completer: Completer, folder: Path) -> None:
        self._words = words
        output = _Screen.from_pty(sys.stdout, term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env())
        self._prompts: PromptSession[str] = PromptSession(
            history=open_history(folder), completer=completer, complete_in_thread=True, complete_while_typing=False, output=output,
            interrupt_exception=LineDiscarded,
        )  # fmt: skip
        self._above = StdoutProxy(raw=False, sleep_between_writes=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._above.close()

    def read(self) -> str:
        """The next line.

        Raises:
            EOFError: Ctrl-D on an empty line.
            LineDiscarded: Ctrl-C while the line was edited.
            KeyboardInterrupt: Ctrl-C when the line was accepted already.
        """
        interrupts: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))  # the editor ends its event loop undisturbed
        try:
            line = self._prompts.prompt(self._words, pre_run=interrupts.clear)
        finally:
            signal.signal(signal.SIGINT, before)
        if interrupts:
            raise KeyboardInterrupt
        return line

    def say(self, text: str) -> None:
        """Write a line above the one that is being typed, from any thread."""
        self._above.write(f"{text}\n")
        self._above.flush()


class _Screen(Vt100_Output):
    """Never asks where the cursor is: a terminal that does not answer would be told that it has a fault."""

    @property
    def responds_to_cpr(self) -> bool:
        return False


class KitHistory(FileHistory):
    """The lines of this session and of those before, in a file that nobody else may read."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):  # a full disk takes away the history, not the console
            super().store_string(string)


def open_history(folder: Path) -> History:
    """The history that is kept in an admin's folder; one that is not kept where the folder cannot be written."""
    path = folder / HISTORY
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return KitHistory(str(path))
