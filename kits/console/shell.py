"""Shell: one line of the console at a time, with its output where the line says."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

import click
import msgspec

from ...kernel.errors import AdminError, SundogError
from ..admin.commands import FAILURE, SUCCESS, USAGE, CommandMisused, NoSuchCommand, parse, run_line
from ..admin.connection import NotSent
from ..admin.session import Session
from ..admin.text import show
from ..commands.text import trouble
from ..protocol.answers import CommandFailed, Problem
from .line import Line, read_line
from .local import find_command
from .sheet import Sheet, wants_colours
from .table import LocalCommand
from .watch import watch

WATCHED = "monitor_job"
"""The command that has a view of its own at a terminal."""
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class OutputNotKept(AdminError):
    """The output of a command cannot be written to the file behind `>`.

    Cause: the system's message says it: no such folder, missing rights, a full disk.

    Cure: name another file; it is relative to the local directory (`lpwd`).
    """

    code = "SD-6033"


class Shell:
    """Does lines, one after the other.

    Args:
        session: with whom.
        is_interactive: somebody sits there: tell how long each command took, and never wait for a server that is away.
        err: where words on an error go; default: stderr.
    """

    def __init__(self, session: Session, *, is_interactive: bool = False, err: TextIO | None = None) -> None:
        self.session = session
        self.err = err or sys.stderr
        self.is_over = False
        """Whether `bye` was said."""
        self._is_interactive = is_interactive
        self._depth = 0

    def do(self, text: str, out: TextIO, *, as_json: bool = False) -> int:
        """Do one line; what a shell should return. Nothing but an interrupt is raised.

        Args:
            text: the line.
            out: where its output goes, unless it says `>`.
            as_json: print one JSON document, whatever comes, or the text of a command of the console's own.
        """
        begun = time.monotonic()
        try:
            line = read_line(text)
            if not line.command:
                return SUCCESS
            with self._output(line, out) as sheet:
                status = self._act(line, sheet, as_json=as_json)
        except SundogError as exc:
            show(trouble(Problem.of(exc)), self.err)
            if as_json:
                out.write(msgspec.json.encode(CommandFailed(Problem.of(exc))).decode())
            status = USAGE if isinstance(exc, (NoSuchCommand, CommandMisused)) else FAILURE
        if self._is_interactive and not self.is_over and self._depth == 0:
            self._tell_done(out, time.monotonic() - begun)
        return status

    @contextmanager
    def nested(self, most: int, too_deep: SundogError) -> Iterator[None]:
        """Around a script: so many may be inside each other. Raises: too_deep."""
        if self._depth >= most:
            raise too_deep
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _act(self, line: Line, sheet: TextIO, *, as_json: bool) -> int:
        words = line.words
        command = find_command(words[0])
        if isinstance(command, LocalCommand):
            return command.run(self, sheet, words[1:])
        if self._is_interactive and not self.session.connection.link.is_up:
            raise NotSent("the server is away; the console goes on dialling and tells when it is back", where=command.name)
        if command.name == WATCHED and self._is_interactive and line.file is None:
            return self._watch(line, sheet)
        return run_line(self.session, line.command, as_json=as_json, out=sheet, err=self.err)

    def _watch(self, line: Line, sheet: TextIO) -> int:
        try:
            command, given = parse(line.command)
        except click.exceptions.Exit:  # --help was printed
            return SUCCESS
        return command.exit_status(watch(self.session, given.job_id, sheet))

    @contextmanager
    def _output(self, line: Line, out: TextIO) -> Iterator[TextIO]:
        """Where a command's output goes. Raises: OutputNotKept."""
        if line.file is None:
            yield Sheet(out, is_terminal=out.isatty(), has_colours=wants_colours(out))
            return
        try:
            with line.file.open("a" if line.appends else "w", encoding="utf-8") as file:
                yield Sheet(file, is_terminal=out.isatty(), has_colours=False)
        except OSError as exc:
            raise OutputNotKept(str(exc), where=str(line.file)) from exc

    def _tell_done(self, out: TextIO, seconds: float) -> None:
        words = f"Done [{seconds * 1000:.0f} ms] {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        out.write(f"{DIM}{words}{PLAIN}\n" if wants_colours(out) else f"{words}\n")
        out.flush()
