"""What do the logs of runs say, and who is told when one grows?

A job process writes its log itself, straight into the file; that it has is heard from the operating system.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import Container, Iterator
from functools import partial
from pathlib import Path

from ..protocol.file_answers import LogPiece
from ..protocol.requests import ReadLog
from ..workspace.file_watch import FileWatch
from ..workspace.folders import Workspace
from ..workspace.inside import NoSuchFile, opened_file
from ..workspace.looking import ANSWER_BYTES, read_at


class _Watched:
    """A run whose log somebody waits for."""

    def __init__(self, folder: Path, name: str) -> None:
        self.readers = 0
        self.news = asyncio.Event()
        self._watch = FileWatch(folder, name, self.tell)

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def close(self) -> None:
        self._watch.close()


class RunLogs:
    """The logs of a participant's runs.

    Args:
        workspace: where they lie.
        live: the ids of runs that are not over.
    """

    def __init__(self, workspace: Workspace, live: Container[str]) -> None:
        self._workspace = workspace
        self._live = live
        self._watched: dict[str, _Watched] = {}

    async def read(self, asked: ReadLog) -> LogPiece:
        """A part of a log; empty where there is no log (yet).

        Raises:
            PathRefused: the id is none, or the log is no plain file.
        """
        if not asked.follow or asked.job_id not in self._live:
            return await self._piece(asked)
        with self._watching(asked.job_id) as watched:
            while True:
                news = watched.news  # taken first: what comes while the file is read is not missed
                piece = await self._piece(asked)
                if piece.text or piece.is_end:
                    return piece
                await news.wait()

    def ended(self, run: str) -> None:
        """A run is over: its log grows no more."""
        if (watched := self._watched.get(run)) is not None:
            watched.tell()

    async def _piece(self, asked: ReadLog) -> LogPiece:
        is_over = asked.job_id not in self._live  # before it is read: only then is what is read the last
        return await asyncio.to_thread(partial(_read, self._workspace, asked, is_over=is_over))

    @contextlib.contextmanager
    def _watching(self, run: str) -> Iterator[_Watched]:
        """One watch a run, however many read."""
        if run not in self._watched:
            folder = self._workspace.run(run)
            self._watched[run] = _Watched(folder.root, folder.log.name)
        watched = self._watched[run]
        watched.readers += 1
        try:
            yield watched
        finally:
            watched.readers -= 1
            if not watched.readers:
                self._watched.pop(run).close()


def _read(workspace: Workspace, asked: ReadLog, *, is_over: bool) -> LogPiece:
    log = workspace.run(asked.job_id).log.relative_to(workspace.root).as_posix()
    try:
        with opened_file(workspace, log) as descriptor:
            data, size = read_at(descriptor, asked.offset, ANSWER_BYTES)
    except NoSuchFile:
        data, size = b"", 0
    is_end = is_over and asked.offset + len(data) >= size
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    text = decoder.decode(data, final=is_end)
    here = asked.offset + len(data) - len(decoder.getstate()[0])  # half a character waits for its other half
    return LogPiece(asked.job_id, asked.site, text, here, size, is_end)
