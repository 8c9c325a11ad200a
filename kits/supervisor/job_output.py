"""Job output: what the job processes of a run print, as their supervisor reads it and writes the run's log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from ...kernel.wording import printable, reason_of
from ...transports.link.writer import Writer
from ..workspace import posix

log = structlog.get_logger()
RUN_LOG_BYTES = 100_000_000
"""What all job processes of a run print at one participant. What comes after is read, counted and dropped."""
READ_BYTES = 64 * 1024
LAST_WORDS_CHARS = 300
LINE_BYTES = 4000
"""Of the end of the output, so much is searched for the last line."""
CRASH_BYTES = 64 * 1024
"""What Python says about a crash is shorter. After more than this the process lives on: some child of its own crashed."""
_FULL = b"\n[the log is full: what follows is dropped]\n"
_FATAL = b"Fatal Python error"
_FRAME = re.compile(r' *File "[^"]*/custom/([^"]+)", line (\d+) in (\S+)')
_FRAME_CHARS = 500
"""A longer line is no frame; text from a job must not keep the event loop busy."""


class LastWords:
    """The end of what one job process printed; for a crash in native code, what Python says of it."""

    def __init__(self) -> None:
        self._end = b""
        self._crash = b""

    def hear(self, data: bytes) -> None:
        """Take the next bytes."""
        end = self._end + data
        if self._crash:
            self._crash += data
        elif (at := end.rfind(_FATAL)) >= 0:
            self._crash = end[at:]
        if len(self._crash) > CRASH_BYTES:
            self._crash = b""
        self._end = end[-LINE_BYTES:]

    def __str__(self) -> str:
        """One line: the error and the job's own line that led to it, or the last line; empty if nothing was printed."""
        lines = self._crash_lines() or [line.strip() for line in self._end.decode(errors="replace").splitlines()[::-1]]
        return printable(next(filter(None, lines), ""))[:LAST_WORDS_CHARS]

    def _crash_lines(self) -> list[str]:
        """The current thread's stack follows the error; its innermost frame stands first."""
        if not self._crash:
            return []
        error, *rest = self._crash.decode(errors="replace").splitlines()
        current = "\n".join(rest).partition("Current thread")[2].partition("\n\n")[0]
        frames = (_FRAME.fullmatch(line) for line in current.splitlines() if len(line) <= _FRAME_CHARS)
        found = next(filter(None, frames), None)
        return [f"{error.strip()} at {found[1]}:{found[2]} in {found[3]}" if found else error.strip()]


class LogFile:
    """A run's log, for the writer thread. What cannot be written is counted to the byte, and the job goes on.

    The folder is the job's, too: a name that is no longer a plain file of its own is replaced; what it led to stays as
    it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size = 0
        self._is_full = False
        self._why = ""
        self._gap = 0
        """Bytes lost since the log last said how many."""
        self.lost_bytes = 0

    def write(self, data: bytes) -> None:
        """Append, or count."""
        left = memoryview(data)
        try:
            if self._descriptor < 0:
                self._open()
            if self._gap and not self._is_full:
                self._tell_gap()
            while left and self._size < RUN_LOG_BYTES:
                count = os.write(self._descriptor, left[: RUN_LOG_BYTES - self._size])
                self._size += count
                left = left[count:]
            if left and not self._is_full:
                self._is_full, self._why = True, "the log is full"
                os.write(self._descriptor, _FULL)
        except OSError as exc:
            self._why = reason_of(exc)
        if left and not self.lost_bytes:
            log.warning("job_output_lost", file=str(self._path), reason=self._why)
        self._gap += len(left)
        self.lost_bytes += len(left)

    def close(self) -> None:
        """Say what is missing at the end, and let go. Twice is fine."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if self._gap:
                self._tell_gap()
        os.close(self._descriptor)
        self._descriptor = -1

    def _tell_gap(self) -> None:
        os.write(self._descriptor, f"\n[{self._gap} bytes are missing here: {self._why}]\n".encode())
        self._gap = 0

    def _open(self) -> None:
        folder = posix.open_folder(self._path.parent)
        try:
            self._descriptor = posix.open_to_append(folder, self._path.name)
        finally:
            os.close(folder)
        self._size = os.fstat(self._descriptor).st_size


class JobOutput:
    """The output of all job processes of one run, on its way into the run's log.

    Args:
        path: of the log.
        writer: writes it.
        on_growth: called on the event loop whenever the log may be longer.
    """

    def __init__(self, path: Path, writer: Writer, on_growth: Callable[[], object]) -> None:
        self._file = LogFile(path)
        self._writer = writer
        self._on_growth = on_growth

    async def copy(self, descriptor: int, words: LastWords) -> None:
        """Read a process' output to its end, or until this is cancelled; no more is read ahead than the writer can take.

        Args:
            descriptor: of a pipe or a stream socket; closed in the end.
            words: hears all of it.
        """
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(READ_BYTES)
        with os.fdopen(descriptor, "rb", buffering=0) as pipe:
            try:
                transport, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), pipe)
                with contextlib.closing(transport):
                    while data := await reader.read(READ_BYTES):
                        words.hear(data)
                        await self._writer.do(partial(self._file.write, data))
                        self._on_growth()
            except (OSError, ValueError) as exc:  # the far end of a socket is gone; or the descriptor is of another kind
                log.warning("job_output_not_read", reason=str(exc))

    async def close(self) -> None:
        """Complete the log: nothing more comes. Twice is fine."""
        await self._writer.do(self._file.close)
