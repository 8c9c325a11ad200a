"""Logs of runs, as they are read: what is there, or as it comes."""

from __future__ import annotations

import asyncio
import codecs
from collections import defaultdict
from collections.abc import Container
from functools import partial

from ..protocol.file_answers import LogPiece
from ..protocol.requests import ReadLog
from ..workspace.folders import Workspace
from ..workspace.inside import NoSuchFile, opened_file
from ..workspace.looking import ANSWER_BYTES, read_at


class RunLogs:
    """The logs of a participant's runs.

    Args:
        workspace: where they lie.
        live: the ids of runs that are not over.
    """

    def __init__(self, workspace: Workspace, live: Container[str]) -> None:
        self._workspace = workspace
        self._live = live
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """Of the runs whose log somebody waits for."""

    async def read(self, asked: ReadLog) -> LogPiece:
        """A part of a log; empty where there is no log (yet).

        Raises:
            PathRefused: the id is none, or the log is no plain file.
        """
        while asked.follow and asked.job_id in self._live:
            news = self._news[asked.job_id]  # taken first: what comes while the file is read is not missed
            piece = await self._piece(asked)
            if piece.text:
                return piece
            await news.wait()
        return await self._piece(asked)

    def changed(self, run: str) -> None:
        """A run's log has grown, or the run is over."""
        if (news := self._news.pop(run, None)) is not None:
            news.set()

    async def _piece(self, asked: ReadLog) -> LogPiece:
        is_over = asked.job_id not in self._live  # before it is read: only then is what is read the last
        return await asyncio.to_thread(partial(_read, self._workspace, asked, is_over=is_over))


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
