"""How is a participant started as a process, watched until it works, and either let go or ended with its starter?"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from enum import Enum
from pathlib import Path
from typing import IO, Self

from ...kernel.errors import CommandLineError
from ..supervisor.lifeline import Starter
from ..supervisor.stopping import CLEAN_SECONDS, HURRY_SECONDS

PROGRAM = (sys.executable, "-P", "-m", "sundog.kits.cli")
"""The program `sundog`, by the interpreter that runs this."""
READY_SECONDS = 60.0
"""A busy machine may need long for its imports."""
WORDS_BYTES = 4000


class NotStarted(CommandLineError):
    """A server or a site did not start.

    Cause: its own words are in the message: a port that is taken, a workspace that is in use, a kit with mistakes.

    Cure: mend what they name and start it again.
    """

    code = "SD-7011"


class Output(Enum):
    """Where a participant's log lines go besides its log.txt."""

    SHARED = "shared"
    """To our stdout."""
    NOWHERE = "nowhere"

    @classmethod
    def of_this_program(cls) -> Output:
        """Shared, unless stdout is a pipe: whoever reads that waits for the end of all who could write to it."""
        return cls.NOWHERE if stat.S_ISFIFO(os.fstat(1).st_mode) else cls.SHARED


class Participant:
    """A server's or a site's process, from its start until it is let go; leaving the block before that ends it.

    Args:
        kind: "server" or "site".
        folder: its kit.
        output: where its log goes besides log.txt.
    """

    def __init__(self, kind: str, folder: Path, output: Output = Output.NOWHERE) -> None:
        self.name = folder.absolute().name
        self._output = output
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the participant
        self._line = Starter()
        self._process = self._spawn([*PROGRAM, kind, str(folder), "--lifeline", str(self._line.theirs)])
        self._line.hand_over()

    def __repr__(self) -> str:
        return f"<Participant {self.name}: process {self._process.pid}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """In a session of its own: a Ctrl-C at the terminal is for us alone, who then end it in order."""
        out = None if self._output is Output.SHARED else subprocess.DEVNULL
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=self._words, pass_fds=[self._line.theirs], start_new_session=True
        )

    def fileno(self) -> int:
        """Becomes readable when it has ended, or is refused by its server."""
        return self._line.fileno()

    @property
    def has_said_more(self) -> bool:
        """Whether it has said more than that it is ready, and nothing of it was read yet."""
        return self._line.has_said_more

    def refusal(self) -> str:
        """Why its server refuses it; empty when it has ended. Call it when it is readable, or has said more."""
        return self._line.refusal()

    def wait_ready(self, seconds: float = READY_SECONDS) -> str:
        """Wait until it works; where it is found.

        Raises:
            NotStarted: it ended, or does not come to it.
        """
        try:
            where = self._line.wait_ready(seconds)
        except TimeoutError:
            raise NotStarted(f"{self.name} is not ready after {seconds:g} s", where=self.name) from None
        if where is None:
            self._process.wait()
            raise NotStarted(f"{self.name} says:\n{self.last_words()}", where=self.name)
        return where

    def stay(self) -> None:
        """Let it outlive us."""
        self._line.stay()
        self._words.close()
        self._process.returncode = 0  # nobody is to wait for it any more

    def let_go(self) -> None:
        """Let it begin to end; `close` waits for that."""
        self._line.close()

    def close(self) -> None:
        """End it and wait until it is gone, unless it is to stay. Twice is fine."""
        self.let_go()
        if not self._ends_within(CLEAN_SECONDS):
            self._process.terminate()  # the second time of asking: its job processes are killed
            if not self._ends_within(HURRY_SECONDS):
                self._process.kill()
                self._process.wait()
        self._words.close()

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """What it wrote to stderr last, in indented lines; its log has more."""
        self._words.seek(0)
        words = self._words.read()[-WORDS_BYTES:].decode(errors="replace").strip() or "nothing"
        return textwrap.indent(words, "    ")
