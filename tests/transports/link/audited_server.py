"""A server whose audit hook keeps what must not happen: it says where it listens, and at the end of its stdin what it saw.

From its first link on: until then the decoders are made, from annotations in our own source.
"""

from __future__ import annotations

import asyncio
import json
import sys

import structlog

from sundog.kernel.messages import Message
from sundog.kits.protocol.messages import PeerMessage
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Identity, Intake, Link, Writer

FORBIDDEN = ("import", "open", "exec", "compile", "os.", "subprocess.", "pickle.", "marshal.", "ctypes.", "shutil.", "code.", "glob.")
"""How the names of audit events begin that a decoder has no use for."""


class Owner:
    understands = PeerMessage

    def __init__(self) -> None:
        self.links = 0

    def link_up(self, link: Link) -> None:
        self.links += 1

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        pass

    def link_down(self, link: Link, reason: str) -> None:
        pass


async def serve() -> None:
    events: list[str] = []
    owner = Owner()
    async with Writer() as writer, await endpoints.listen(sys.argv[1]) as listener, asyncio.TaskGroup() as tasks:
        acceptor = Acceptor(Identity("clinic", "server", "server"), handler=owner, intake=Intake(writer))
        tasks.create_task(acceptor.serve(listener))
        stdin = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        print(listener.contact, flush=True)
        is_over = False

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if owner.links and not is_over and event.startswith(FORBIDDEN):
                events.append(f"{event} {arguments!r:.200}")

        sys.addaudithook(watch)
        await stdin
        is_over = True
        await listener.close()
        await acceptor.close()
    print(json.dumps({"links": owner.links, "events": sorted(set(events))}))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(serve())
