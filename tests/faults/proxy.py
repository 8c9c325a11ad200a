"""What can happen to bytes on their way? A TCP proxy that cuts, and that goes silent."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE_BYTES = 64 * 1024


class Proxy:
    """Forwards each connection to a target, until it is told to do something else.

    Args:
        host: of the target.
        port: likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        """Where it listens, on 127.0.0.1."""
        self.cuts_after_bytes: float = float("inf")
        """So many more bytes are forwarded, both ways together; then every connection is reset, once."""
        self.silent_seconds = 0.0
        """Unless 0, nothing is reset then: nothing is forwarded for so long, on old connections and on new ones."""
        self.passed_bytes = 0
        self.connections = 0
        self.cuts = 0
        self._host, self._target = host, port
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def freeze(self) -> None:
        """Forward nothing, and keep every connection open: a half-open link."""
        self._flows.clear()

    def thaw(self) -> None:
        """Forward again, what was held back first."""
        self._flows.set()

    def cut(self) -> None:
        """Reset every connection, or go silent."""
        self.cuts += 1
        self.cuts_after_bytes = float("inf")
        if self.silent_seconds:
            self.freeze()
            asyncio.get_running_loop().call_later(self.silent_seconds, self.thaw)
            return
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock.fileno() >= 0:  # it may have ended by itself
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Let go of everything at once, also of bytes for who does not read; nothing is left after it."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = list(self._writers)
        for writer in left:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in left), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called at once, so that `close` knows of every connection."""
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self._host, self._target)
        except OSError:  # nobody is there
            writer.close()
            return
        self._writers.add(there_writer)
        ways = [asyncio.ensure_future(self._pump(*way)) for way in ((reader, there_writer), (there_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, there_writer):
            end.close()
        await asyncio.gather(writer.wait_closed(), there_writer.wait_closed(), return_exceptions=True)
        self._writers -= {writer, there_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._flows.wait()
            self.passed_bytes += len(piece)
            self.cuts_after_bytes -= len(piece)
            if self.cuts_after_bytes < 0:
                self.cut()
                if not self.silent_seconds:
                    return
                await self._flows.wait()
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy that is gone in the end."""
    proxy = Proxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
