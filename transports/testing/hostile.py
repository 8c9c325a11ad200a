"""Does a stranger who writes raw bytes harm anybody but himself? For wires with a `Poke`."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ...kernel.transport import MAX_FRAME_BYTES, Connection, ConnectionLost, FrameTooLarge, MalformedFrame
from .wire import MIB, Poke, Wire, claim, echo, meet, raises, settle


async def a_frame_announced_too_large_is_refused(wire: Wire) -> None:
    """FrameTooLarge before memory is taken; the others notice nothing."""
    async with _stranger(wire, _poke(wire).announce(MAX_FRAME_BYTES + 1)) as server:
        with raises(FrameTooLarge):
            await server.receive()
        with raises(FrameTooLarge):
            await server.receive()


async def an_announcement_alone_takes_no_memory(wire: Wire) -> None:
    """The largest frame is announced and not sent: memory follows what has arrived."""
    tracemalloc.start()
    try:
        async with _stranger(wire, _poke(wire).announce(MAX_FRAME_BYTES) + bytes(1000)) as server:
            receiving = asyncio.create_task(server.receive())
            await settle(receiving, 0.1)
            peak = tracemalloc.get_traced_memory()[1]
            claim(peak < 4 * MIB, f"{peak:,} bytes taken for 1,000 that came")
            receiving.cancel()
            await asyncio.wait({receiving})
    finally:
        tracemalloc.stop()


async def bytes_that_are_no_frame_are_refused(wire: Wire) -> None:
    """Each kind of nonsense: a typed error, that peer only."""
    for name, nonsense in _poke(wire).malformed.items():
        async with _stranger(wire, nonsense) as server:
            with raises(FrameTooLarge, MalformedFrame):
                await server.receive()
            claim("open" not in repr(server), f"{name}: the connection is still open")


async def half_a_frame_and_silence_is_a_loss(wire: Wire) -> None:
    """The stranger stops in the middle, then hangs up."""
    async with _stranger(wire, _poke(wire).announce(1000) + bytes(10), stays=False) as server:
        with raises(ConnectionLost):
            await server.receive()


async def hanging_up_without_a_word_is_a_loss(wire: Wire) -> None:
    """No goodbye, no clean end."""
    async with _stranger(wire, b"", stays=False) as server:
        with raises(ConnectionLost):
            await server.receive()


async def a_silent_stranger_holds_up_nobody(wire: Wire) -> None:
    """He connects and says nothing."""
    async with _stranger(wire, b"") as server:
        receiving = asyncio.create_task(server.receive())
        claim(not await settle(receiving, 0.05), "something was received from a silent stranger")
        server.abort()
        with raises(ConnectionLost):
            await receiving


def _poke(wire: Wire) -> Poke:
    if wire.poke is None:
        raise ValueError("this case needs a wire with a poke")
    return wire.poke


@asynccontextmanager
async def _stranger(wire: Wire, data: bytes, *, stays: bool = True) -> AsyncIterator[Connection]:
    """The accepted end of a raw connection on which these bytes are written.

    Claims that another connection to the same listener works before and after the block.
    """
    async with await wire.transport.listen(wire.address()) as listener:
        good = await meet(wire, listener)
        await echo(*good)
        async with AsyncExitStack() as raw:
            write = await raw.enter_async_context(_poke(wire).connect(listener.contact))
            write(data)
            server = await listener.accept()
            if not stays:
                await raw.aclose()
            yield server
        await echo(*good)
        for end in (server, *good):
            end.abort()
