"""One side of a large transfer, or both, as a process whose memory can be looked at.

    large_peer.py fetch ADDRESS KEY SIZE TARGET            listens, gets the blob, ends
    large_peer.py offer ADDRESS KEY SIZE SOURCE            dials, lets the server get it, ends when stdin does
    large_peer.py both  ADDRESS KEY SIZE SOURCE TARGET     the two of them on one loop

It says on stdout, a line each, where it listens, that the link is up, and that the blob is here; for the second of these
to become the third somebody must write a line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from sundog.kernel.messages import Message
from sundog.kits.protocol.messages import PeerMessage
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Dialer, Identity, Intake, Link, Writer
from sundog.transports.link.refusals import Refused


class Owner:
    """Waits for its one link."""

    understands = PeerMessage

    def __init__(self) -> None:
        self.up: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def link_up(self, link: Link) -> None:
        self.up.set_result(link)

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        raise AssertionError(f"nothing but the transfer is expected, got {message!r}")

    def link_down(self, link: Link, reason: str) -> None:
        pass

    def refused(self, error: Refused) -> None:
        raise error


def say(word: str) -> None:
    print(word, flush=True)


async def heard() -> str:
    """The next line somebody wrote; empty at the end."""
    return await asyncio.to_thread(sys.stdin.readline)


async def fetch(address: str, key: str, size: int, target: Path) -> None:
    owner = Owner()
    async with Writer() as writer, await endpoints.listen(address) as listener, asyncio.TaskGroup() as tasks:
        acceptor = Acceptor(Identity("large", "server", "server"), handler=owner, intake=Intake(writer))
        tasks.create_task(acceptor.serve(listener))
        say(listener.contact)
        link = await owner.up
        say("up")
        await heard()
        await link.transfers.fetch(key, size, target)
        say("here")
        await heard()
        await listener.close()
        await acceptor.close()


async def offer(address: str, key: str, size: int, source: Path, *, is_over: asyncio.Future[None] | None = None) -> None:
    async with Writer() as writer, asyncio.TaskGroup() as tasks:
        dialer = Dialer(Identity("large", "site", "site-1"), [address], handler=Owner(), intake=Intake(writer))
        dialer.link.transfers.offer(key, source, size)
        tasks.create_task(dialer.run())
        await (is_over or heard())
        await dialer.close()


async def both(address: str, key: str, size: int, source: Path, target: Path) -> None:
    is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(fetch(address, key, size, target))
        tasks.create_task(offer(address, key, size, source, is_over=is_over))
        await server
        is_over.set_result(None)


SIDES: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"fetch": fetch, "offer": offer, "both": both}

if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for what it says
    what, where, sha256, size_bytes, *paths = sys.argv[1:]
    asyncio.run(SIDES[what](where, sha256, int(size_bytes), *map(Path, paths)))
