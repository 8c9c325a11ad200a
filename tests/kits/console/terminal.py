"""How does a test sit at a terminal? A pseudo terminal, a program on it, and waits for what it writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

import pytest

DEADLINE_SECONDS = 50.0
PROMPT_IS_THERE = "\x1b[?2004h"
"""The line editor switches bracketed paste on when it begins to read."""
CTRL_C, CTRL_D, TAB, UP, ENTER = "\x03", "\x04", "\t", "\x1b[A", "\r"
# The terminal becomes the controlling one, so that Ctrl-C is a signal while nobody edits a line.
_LAUNCH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A program at a terminal; leaving the block ends it."""

    def __init__(self, *command: str | Path, columns: int = 120, rows: int = 40, environment: dict[str, str] | None = None) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, command)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**known, "TERM": "xterm-256color", **(environment or {})},
        )  # fmt: skip
        os.close(theirs)
        self._said = ""
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fd)

    def send(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, text: str, seconds: float = DEADLINE_SECONDS) -> str:
        """Wait until it writes this, behind what was waited for before; what it wrote up to there."""
        if not self._comes(text, seconds):
            pytest.fail(f"waited {seconds:g} s for {text!r}; it wrote:\n{plain(self._said[self._at :])}")
        begun, self._at = self._at, self._said.find(text, self._at) + len(text)
        return self._said[begun : self._at]

    def press_until(self, key: str, text: str) -> None:
        """Press a key until this is written: one that comes while the line editor has not yet let go of the terminal is lost."""
        for _ in range(int(DEADLINE_SECONDS)):
            self.send(key)
            if self._comes(text, 1.0):
                break
        self.wait_for(text, 0)

    def _comes(self, text: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._said.find(text, self._at) < 0:
            if not self._read(deadline - time.monotonic()):
                return False
        return True

    def wait_for_prompt(self) -> str:
        return self.wait_for(PROMPT_IS_THERE)

    def give(self, command: str) -> str:
        """Type a command at the prompt; what is shown until it is done, and the next prompt is there."""
        self.send(command + ENTER)
        self.wait_for("\x1b[?2004l")
        shown = self.wait_for("Done [")
        self.wait_for_prompt()
        return plain(shown).removesuffix("Done [")

    def wait_for_end(self, seconds: float = DEADLINE_SECONDS) -> tuple[int, str]:
        """Its status, and what it wrote besides."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        try:
            status = self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"waited {seconds:g} s for its end; it wrote:\n{plain(self._said[self._at :])}")
        return status, plain(self._said[self._at :])

    def _read(self, seconds: float) -> bool:
        """Take what it writes next; False when there is nothing in time, or nobody left who writes."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            return False
        self._said += data.decode(errors="replace")
        return bool(data)


def plain(text: str) -> str:
    """The text as it would stand in a file: without colours and moves, with plain line ends."""
    return _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "")
