"""How does the server ask a site something and get the answer?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from ...kernel.errors import AdminError, RemoteError
from ...transports.link import Link
from ..protocol.messages import Answer, Ask


class SiteDoesNotAnswer(AdminError):
    """A site gave no answer.

    Cause: its link is down, or its machine is overloaded.

    Cure: look at the site's log.txt; `check_status client` shows which sites answer.
    """

    code = "SD-6003"


class Questions:
    """Questions under way, by their number."""

    def __init__(self, sites: Callable[[], dict[str, Link]]) -> None:
        self._sites = sites
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, site: str, name: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Ask and wait for the answer.

        Raises:
            SiteDoesNotAnswer: it is not connected, or too slow.
            RemoteError: it refuses.
        """
        link = self._sites().get(site)
        if link is None:
            raise SiteDoesNotAnswer("it is not connected", where=site)
        request = secrets.token_hex(8)
        answer = self._asked[request] = asyncio.get_running_loop().create_future()
        link.send(Ask(request, name), msgspec.json.encode(arguments))
        try:
            async with asyncio.timeout(seconds):
                said: dict[str, Any] = await answer
        except TimeoutError:
            raise SiteDoesNotAnswer(f"no answer within {seconds:g} s", where=site) from None
        finally:
            del self._asked[request]
        return said

    def answered(self, message: Answer, body: bytes) -> None:
        """A site's answer came in."""
        waiting = self._asked.get(message.request)
        if waiting is None or waiting.done():
            return
        if message.failure is not None:
            waiting.set_exception(RemoteError(message.failure))
        else:
            waiting.set_result(msgspec.json.decode(body, type=dict[str, Any]))
