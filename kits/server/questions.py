"""Questions: commands that the server passes on to sites, until they are answered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ...kernel.errors import AdminError, RemoteError
from ...kernel.operator_roles import Subject
from ...transports.link import Link
from ..commands.declaration import Command
from ..protocol.messages import Answer, Ask, Withdraw
from ..protocol.requests import Request

T = TypeVar("T", bound=msgspec.Struct)
ANSWER_SECONDS = 10.0
"""Timeout for queries that a site can answer immediately."""


class SiteDoesNotAnswer(AdminError):
    """A site gave no answer, or one that makes no sense.

    Cause: its link is down, its machine is overloaded, or it is of another version.

    Cure: look at the site's log.txt; `check_status client` shows which sites answer.
    """

    code = "SD-6003"


class Questions:
    """Questions under way, by site and number: what another site says to one is nobody's answer."""

    def __init__(self, sites: Callable[[], dict[str, Link]]) -> None:
        self._sites = sites
        self._asked: dict[tuple[str, str], asyncio.Future[bytes]] = {}

    async def ask(  # on whose behalf, whom, what
        self, subject: Subject, site: str, command: Command[Any, Any], request: Request, answer: type[T], *, waits: bool = False
    ) -> T:
        """Ask and wait for the answer.

        Args:
            subject: the admin on whose behalf.
            site: the site.
            command: the command that it is to do.
            request: its arguments.
            answer: the type of the answer.
            waits: as long as the site is connected; else ANSWER_SECONDS.

        Raises:
            SiteDoesNotAnswer: it is not connected, too slow, or its answer has another form.
            RemoteError: it refuses.
        """
        link = self._sites().get(site)
        if link is None:
            raise SiteDoesNotAnswer("it is not connected", where=site)
        key = (site, secrets.token_hex(8))
        waiting = self._asked[key] = asyncio.get_running_loop().create_future()
        ask = Ask(key[1], command.name, subject.name, subject.organisation, subject.role)
        link.send(ask, msgspec.msgpack.encode(request))
        try:
            async with asyncio.timeout(None if waits else ANSWER_SECONDS):
                return msgspec.msgpack.decode(await waiting, type=answer)
        except TimeoutError:
            raise SiteDoesNotAnswer(f"no answer within {ANSWER_SECONDS:g} s", where=site) from None
        except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
            raise SiteDoesNotAnswer(f"its answer makes no sense: {exc}", where=site) from exc
        finally:
            del self._asked[key]
            if not waiting.done() or waiting.cancelled():
                link.send(Withdraw(key[1]))

    def answered(self, site: str, message: Answer, body: bytes) -> None:
        """A site's answer came in."""
        waiting = self._asked.get((site, message.request))
        if waiting is None or waiting.done():
            return
        if message.failure is not None:
            waiting.set_exception(RemoteError(msgspec.structs.replace(message.failure, site=site)))
        else:
            waiting.set_result(body)

    def site_lost(self, site: str) -> None:
        """A site's link is down: who waits for an answer of it need not wait longer."""
        for (asked, _), waiting in self._asked.items():
            if asked == site and not waiting.done():
                waiting.set_exception(SiteDoesNotAnswer("its link was lost", where=site))
