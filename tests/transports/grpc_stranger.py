"""Who opens a stream at a gRPC listener without our wire? One channel, any messages, one stream after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from sundog.transports.grpc_stream import METHOD


class Stranger:
    """Calls what he likes, and says what he likes."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def stream(self, method: str = METHOD) -> Any:
        return self._channel.stream_stream(method)()

    async def say(self, messages: Sequence[bytes]) -> None:
        """Open a stream, write the messages as long as they are taken, and hang up without waiting for an answer."""
        call = self.stream()
        try:
            await call.initial_metadata()
            for message in messages:
                await call.write(message)
            await call.done_writing()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            pass  # the server has had enough


@asynccontextmanager
async def stranger_at(contact: str) -> AsyncIterator[Stranger]:
    """A stranger who is connected as long as the block lasts."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(contact.removeprefix("grpc://"), options=options) as channel:
        yield Stranger(channel)
