"""What does a site answer to a question that the server asks on behalf of an admin? Its own access rule decides whether at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from ...kernel.errors import Failure
from ...kernel.operator_roles import Subject
from ..protocol import requests as ask
from ..protocol.answers import RunRow, SiteRuns
from ..protocol.file_answers import LogPiece
from ..protocol.messages import Answer, Ask
from ..protocol.requests import FILE_REQUESTS, FileRequest, Request
from ..supervisor.access import NotAllowed, demand
from ..supervisor.waiting import Waiting
from ..workspace.looking import look

if TYPE_CHECKING:
    from .site import Site

log = structlog.get_logger()
Act = Callable[[Any], Awaitable[msgspec.Struct]]


class Answers:
    """The questions, by name; each is its arguments' type and what is done."""

    def __init__(self, site: Site) -> None:
        self._site = site
        acts: dict[type[Request], Act] = {
            ask.CheckStatus: self._status,
            ask.ReadLog: self._read_log,
            **dict.fromkeys(FILE_REQUESTS, self._look),
        }
        self._table = {kind.command: (kind, act) for kind, act in acts.items()}
        self.waiting: Waiting[str] = Waiting()
        """Questions that only wait, by their number."""

    async def answer(self, message: Ask, body: bytes) -> None:
        """Do what is asked, and say what came of it."""
        try:
            said = msgspec.json.encode(await self._act(message, body))
        except Exception as exc:  # noqa: BLE001  # whatever it is: somebody waits for an answer
            failure = Failure.of(exc, site=self._site.kit.name)
            log.warning("question_refused", name=message.name, admin=message.admin, code=failure.code, reason=failure.what)
            self._site.link.send(Answer(message.request, msgspec.structs.replace(failure, trace="")))
        else:
            self._site.link.send(Answer(message.request), said)

    async def _act(self, message: Ask, body: bytes) -> msgspec.Struct:
        if message.name not in self._table:
            raise NotAllowed(f"this site knows no question {message.name!r:.80}")
        kind, act = self._table[message.name]
        asked = msgspec.json.decode(body or b"{}", type=kind)
        about = {"right": kind.right, "target": self._site.kit.name}
        demand(self._site.access, Subject(message.admin, message.organisation, message.role), message.name, about)
        with self.waiting.here(message.request) if kind.only_waits else nullcontext():
            return await act(asked)

    async def _status(self, _asked: ask.CheckStatus) -> SiteRuns:
        return SiteRuns([RunRow(run, "working" if program.run.working else "waiting") for run, program in self._site.runs.items()])

    async def _read_log(self, asked: ask.ReadLog) -> LogPiece:
        return await self._site.logs.read(asked)

    async def _look(self, asked: FileRequest) -> msgspec.Struct:
        log.debug("files_shown", command=asked.command, file=getattr(asked, "file", getattr(asked, "path", "")))
        return await asyncio.to_thread(look, self._site.workspace, asked)
