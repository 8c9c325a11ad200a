"""Answers: what the server asks of a site on behalf of an admin. The site's own access rule decides whether at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
import structlog

from ...kernel.errors import Failure
from ...kernel.operator_roles import AccessRule, Subject
from ...transports.link import Link
from ..commands.declaration import SITE, AtSite, SiteFunction
from ..commands.registry import AnyCommand, Receiver
from ..protocol.messages import Answer, Ask
from ..protocol.requests import Request
from ..supervisor.access import NotAllowed

log = structlog.get_logger()


class Answers(Receiver[str]):
    """Answers the commands that the server passes on. One that only waits is known by its number.

    Args:
        name: the site's.
        access: decides who may give which.
        place_of: what a command's function is given, by the participant that gives it.
        link: to the server.
    """

    def __init__(self, name: str, access: AccessRule, place_of: Callable[[Subject], AtSite], link: Callable[[], Link]) -> None:
        super().__init__(SITE, f"the site {name}", access)
        self._name = name
        self._place_of = place_of
        self._link = link

    async def answer(self, message: Ask, body: bytes) -> None:
        """Do what is asked, and say what came of it."""
        try:
            said = await self._answer(message, body)
        except Exception as exc:  # noqa: BLE001  # whatever it is: the server waits for an answer
            failure = Failure.of(exc, site=self._name)
            if not isinstance(exc, NotAllowed):  # which has its own line
                log.warning("command_refused", name=message.name, admin=message.admin, code=failure.code, reason=failure.what)
            self._link().send(Answer(message.request, msgspec.structs.replace(failure, trace="")))
        else:
            self._link().send(Answer(message.request), said)

    async def _answer(self, message: Ask, body: bytes) -> bytes:
        subject = Subject(message.admin, message.organisation, message.role)

        async def act(command: AnyCommand, asked: Request) -> msgspec.Struct:
            return await cast("SiteFunction", command.site)(self._place_of(subject), asked)  # it runs at a site

        return await self.carry_out(message.request, subject, message.name, body, about=self._about, act=act)

    def _about(self, asked: Request) -> Mapping[str, Any]:
        job_id = getattr(asked, "job_id", "")
        return {"target": self._name, "job_id": job_id} if job_id else {"target": self._name}
