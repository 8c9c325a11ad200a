"""Commands: what admins ask of the server, from the message to the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import structlog

from ...kernel.errors import AdminError, Failure, SundogError
from ...kernel.operator_roles import AccessRule
from ...transports.link import Link
from ..commands.declaration import SERVER, AtServer
from ..commands.registry import AnyCommand, Receiver
from ..protocol import messages as peer
from ..protocol.requests import Request, TargetedRequest
from ..supervisor.access import NotAllowed
from ..workspace.job_state import JobTable
from .sessions import Sessions

log = structlog.get_logger()


class NotAtTheServer(AdminError):
    """A command was given to the server that only sites do.

    Cause: its target is "server".

    Cure: give it the name of a site.
    """

    code = "SD-6072"


class Commands(Receiver[tuple[Link, str]]):
    """Answers the commands of admins. One that only waits is known by its link and its number.

    Args:
        access: decides who may give which.
        sessions: notes who is active.
        place_of: what a command's function is given, by the link of the admin who gives it.
    """

    def __init__(self, access: AccessRule, sessions: Sessions, place_of: Callable[[Link], AtServer]) -> None:
        super().__init__(SERVER, "the server", access)
        self._sessions = sessions
        self._place_of = place_of
        self._under_way: set[tuple[Link, str]] = set()

    async def answer(self, link: Link, message: peer.Command, body: bytes) -> None:
        """Do it, and say what came of it. Sent again while it is under way (the connection was lost): answered once."""
        key = (link, message.request)
        if key in self._under_way:
            return
        self._under_way.add(key)
        try:
            with self._sessions.active(link):
                answer = await self._answer(link, message, body)
            link.send(peer.Reply(message.request), answer)
        except Exception as exc:  # noqa: BLE001  # whatever it is: the admin waits for an answer
            failure = Failure.of(exc)
            if not isinstance(exc, NotAllowed):  # which has its own line
                log.warning("command_refused", name=message.name, admin=link.peer.name, code=failure.code, reason=failure.what)
            where = exc.where if isinstance(exc, SundogError) else ""  # not the line of our own code
            link.send(peer.Reply(message.request, msgspec.structs.replace(failure, where=where, trace="")))
        finally:
            self._under_way.discard(key)

    async def _answer(self, link: Link, message: peer.Command, body: bytes) -> bytes:
        here = self._place_of(link)

        async def act(command: AnyCommand, asked: Request) -> msgspec.Struct:
            if isinstance(asked, TargetedRequest) and asked.target != SERVER:
                return await _passed_on(here, command, asked)
            if command.server is None:
                raise NotAtTheServer("only sites do it", where=command.name)
            answer: msgspec.Struct = await command.server(here, asked)
            return answer

        who = (link, message.request)
        return await self.carry_out(who, here.subject, message.name, body, about=partial(_about, here.jobs.table), act=act)


async def _passed_on(here: AtServer, command: AnyCommand, asked: TargetedRequest) -> msgspec.Struct:
    """The answer of the site that a request is for. Which site that is, the server knows better than what the site says."""
    wanted = command.site_answer or command.answer_to(asked)
    said: msgspec.Struct = await here.ask(asked.target, command, asked, wanted, waits=command.only_waits)
    return msgspec.structs.replace(said, target=asked.target) if hasattr(said, "target") else said


def _about(jobs: JobTable, asked: Request) -> Mapping[str, Any]:
    """What an access rule is told of a request."""
    about: dict[str, Any] = {}
    if isinstance(asked, TargetedRequest):
        about["target"] = asked.target
    if (job_id := getattr(asked, "job_id", "")) != "":
        about["job_id"] = job_id
        with suppress(AdminError):  # the command itself says so, to those who may give it
            job = jobs.find(job_id)
            about |= {"job_id": job.id, "job": job.meta}
    return about
