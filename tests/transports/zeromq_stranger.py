"""Who speaks ZeroMQ at a listener without our wire? Blocking, so in a thread of his own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import zmq

from sundog.transports.zeromq_listener import HELLO, KIND_BYTES, READY, WORD_BYTES

SECONDS_MS = 5_000

Message = Sequence[bytes]


class Stranger:
    """Says what he likes, on one connection after the other."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], contact: str) -> None:
        self._context = context
        self._endpoint = contact.removeprefix("zmq+").replace("zmq://", "tcp://")

    async def say(self, messages: Sequence[Message], *, is_polite: bool = True, after: threading.Event | None = None) -> None:
        """Connect, introduce himself if he is polite, say it all (when `after` is set), and hang up without waiting for an answer."""
        await asyncio.to_thread(self._say, messages, is_polite, after)

    async def hear(self, messages: Sequence[Message], *, is_polite: bool = True) -> list[bytes]:
        """Likewise, but wait for one answer first."""
        return await asyncio.to_thread(self._hear, messages, is_polite)

    def _say(self, messages: Sequence[Message], is_polite: bool, after: threading.Event | None) -> None:
        with self._connected(is_polite) as socket:
            if after is not None:
                after.wait()
            for message in messages:
                socket.send_multipart(message)

    def _hear(self, messages: Sequence[Message], is_polite: bool) -> list[bytes]:
        with self._connected(is_polite) as socket:
            for message in messages:
                socket.send_multipart(message)
            return socket.recv_multipart()

    def _connected(self, is_polite: bool) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        for option, value in {zmq.LINGER: SECONDS_MS, zmq.RCVTIMEO: SECONDS_MS, zmq.RECONNECT_IVL: -1}.items():
            socket.set(option, value)
        socket.connect(self._endpoint)
        if is_polite:
            socket.send(HELLO)
            socket.send(READY + socket.recv()[KIND_BYTES : KIND_BYTES + WORD_BYTES])
        return socket


@asynccontextmanager
async def stranger_at(contact: str) -> AsyncIterator[Stranger]:
    """A stranger who has hung up when the block ends."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield Stranger(context, contact)
    finally:
        await asyncio.to_thread(context.term)
