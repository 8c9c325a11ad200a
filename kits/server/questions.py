"""How does the server ask a site something and get the answer?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ...kernel.errors import AdminError, RemoteError
from ...transports.link import Link
from ..protocol.messages import Answer, Ask, Withdraw

T = TypeVar("T")
ANSWER_SECONDS = 10.0
"""So long has a site to answer what it can answer at once."""


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

    async def ask(self, site: str, ask: Ask, arguments: Any, answer: type[T], seconds: float | None = ANSWER_SECONDS) -> T:
        """Ask and wait for the answer.

        Args:
            site: whom.
            ask: the question; its number is given here.
            arguments: of the question, made into JSON.
            answer: what the answer's JSON must be.
            seconds: how long it may take; None: as long as the site is connected.

        Raises:
            SiteDoesNotAnswer: it is not connected, too slow, or says something else.
            RemoteError: it refuses.
        """
        link = self._sites().get(site)
        if link is None:
            raise SiteDoesNotAnswer("it is not connected", where=site)
        key = (site, secrets.token_hex(8))
        waiting = self._asked[key] = asyncio.get_running_loop().create_future()
        link.send(msgspec.structs.replace(ask, request=key[1]), msgspec.json.encode(arguments))
        try:
            async with asyncio.timeout(seconds):
                return msgspec.json.decode(await waiting, type=answer)
        except TimeoutError:
            raise SiteDoesNotAnswer(f"no answer within {seconds:g} s", where=site) from None
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
