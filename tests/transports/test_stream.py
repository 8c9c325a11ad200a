"""What lies on the wire, and what does a connection over a raw socket make of its end?"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from sundog.kernel.transport import ConnectionLost, EndOfConnection
from sundog.transports.mailbox import WINDOW_ITEMS
from sundog.transports.stream import StreamConnection

Pipe = tuple[StreamConnection, socket.socket]


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    """A connection over one end of a socketpair, and the raw other end."""
    near, far = socket.socketpair()
    far.setblocking(False)
    connection = StreamConnection(near, local="job", peer="site-1")
    with far:
        yield connection, far
    connection.abort()


async def read(sock: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    got = b""
    while len(got) < count:
        more = await asyncio.get_running_loop().sock_recv(sock, count - len(got))
        if not more:
            break
        got += more
    return got


async def test_a_frame_is_its_length_and_its_bytes(pipe: Pipe) -> None:
    connection, far = pipe

    await connection.send(b"ab", b"", b"c")

    assert await read(far, 7) == b"\x00\x00\x00\x03abc"


async def test_close_says_goodbye_and_nothing_more(pipe: Pipe) -> None:
    connection, far = pipe
    connection.linger_seconds = 1000.0
    closing = asyncio.create_task(connection.close())

    assert await read(far, 100) == b"\xff\xff\xff\xff"

    far.close()
    await closing


async def test_a_goodbye_is_answered_by_hanging_up(pipe: Pipe) -> None:
    connection, far = pipe
    far.send(b"\0\0\0\1x\xff\xff\xff\xff")

    assert await connection.receive() == b"x"
    with pytest.raises(EndOfConnection, match="site-1: the peer has closed"):
        await connection.receive()
    assert await read(far, 1) == b""


async def test_end_of_file_without_a_goodbye_is_the_peers_death(pipe: Pipe) -> None:
    connection, far = pipe
    far.send(b"\0\0\0\1x")
    far.close()

    assert await connection.receive() == b"x"
    with pytest.raises(ConnectionLost, match=r"site-1: the peer vanished without a goodbye$"):
        await connection.receive()


async def test_end_of_file_inside_a_frame_is_told(pipe: Pipe) -> None:
    connection, far = pipe
    far.send(b"\0\0\0\2x")
    far.close()

    with pytest.raises(ConnectionLost, match="in the middle of a frame"):
        await connection.receive()


async def test_sending_to_a_dead_peer_is_told_in_the_systems_words(pipe: Pipe) -> None:
    connection, far = pipe
    far.close()

    with pytest.raises(ConnectionLost, match=r"Broken pipe|Connection reset"):
        await connection.send(b"x")


async def test_close_waits_no_longer_than_its_linger_time_then_resets(pipe: Pipe) -> None:
    connection, _ = pipe
    connection.linger_seconds = 0.02

    async with asyncio.timeout(type(connection).linger_seconds):
        await connection.close()

    assert "this side has closed" in repr(connection)


async def test_repr_tells_ends_state_and_what_waits(pipe: Pipe) -> None:
    connection, far = pipe
    assert repr(connection) == "<StreamConnection job -> site-1: open, 0 frames wait>"
    far.send(b"\0\0\0\1x" * 3)

    await connection.receive()

    assert repr(connection) == "<StreamConnection job -> site-1: open, 2 frames wait>"


async def test_reading_stops_while_many_frames_wait(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peer can make us keep is bounded by one read over the window."""
    connection, far = pipe
    has_stopped = asyncio.Event()
    frame = struct.pack(">I", 8000) + bytes(8000)
    loop = asyncio.get_running_loop()
    stop = loop.remove_reader

    def stopped(sock: socket.socket) -> bool:
        if sock is connection._socket:
            has_stopped.set()
        return stop(sock)

    monkeypatch.setattr(loop, "remove_reader", stopped)
    sending = asyncio.create_task(loop.sock_sendall(far, frame * 1000))

    await has_stopped.wait()
    waiting = int(repr(connection).split(", ")[1].split()[0])

    assert not sending.done()
    assert WINDOW_ITEMS <= waiting < WINDOW_ITEMS + 10
    for _ in range(1000):
        assert len(await connection.receive()) == 8000
    await sending
