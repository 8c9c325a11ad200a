"""Does the proxy of the fault tests leave nothing behind that would fail another test?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from .proxy import proxy_to


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_what_nobody_reads_keeps_no_connection_open() -> None:
    """Bytes wait for who does not read: the proxy would wait for him for ever, and its loop ends before that."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    before = open_descriptors()

    async with proxy_to("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        _, client = await asyncio.open_connection("127.0.0.1", proxy.port)
        client.write(bytes(64_000_000))
        draining = asyncio.ensure_future(client.drain())
        await asyncio.wait({draining}, timeout=0.5)  # every buffer on the way is full by then
        client.transport.abort()
    accepted[0].transport.abort()
    await asyncio.gather(draining, client.wait_closed(), accepted[0].wait_closed(), return_exceptions=True)

    assert open_descriptors() == before
    server.close()
