"""What is special about the wire inside one process?"""

from __future__ import annotations

import asyncio

import pytest

from sundog.kernel.transport import ConnectFailed, EndOfConnection, FrameTooLarge
from sundog.transports.inproc import Inproc


async def test_bytes_are_handed_over_not_copied() -> None:
    frame = bytes(1000)
    async with await Inproc().listen("inproc://server") as listener, await Inproc().connect("inproc://server") as client:
        server = await listener.accept()

        await client.send(frame)

        assert await server.receive() is frame


async def test_the_smaller_limit_holds_for_both() -> None:
    async with (
        await Inproc().listen("inproc://server", max_frame_bytes=10) as listener,
        await Inproc().connect("inproc://server") as client,
        await listener.accept() as server,
    ):
        for end in (client, server):
            with pytest.raises(FrameTooLarge, match="a frame of 11 bytes is over the limit of 10"):
                await end.send(bytes(11))


def test_names_of_another_loop_are_unknown() -> None:
    async def listen() -> None:
        await Inproc().listen("inproc://server")

    async def connect() -> None:
        with pytest.raises(ConnectFailed, match="nobody on this event loop listens here"):
            await Inproc().connect("inproc://server")

    asyncio.run(listen())
    asyncio.run(connect())


async def test_the_end_of_a_closed_peer_comes_after_its_frames() -> None:
    async with await Inproc().listen("inproc://server") as listener:
        client = await Inproc().connect("inproc://server")
        server = await listener.accept()
        await client.send(b"last words")
        await client.close()

        assert await server.receive() == b"last words"
        with pytest.raises(EndOfConnection, match="the peer has closed"):
            await server.receive()


def test_it_is_local() -> None:
    assert Inproc.is_local
