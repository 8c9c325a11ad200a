"""Can mutated bytes on a TCP port, or in the messages of gRPC and ZeroMQ, harm anybody but the one who sends them?"""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from random import Random

from sundog.kernel.errors import TransportError
from sundog.kernel.transport import Connection, ConnectionLost, EndOfConnection, FrameTooLarge, MalformedFrame
from sundog.transports.address import Address
from sundog.transports.framing import GOODBYE
from sundog.transports.grpc_connection import GOODBYE as GOODBYE_MESSAGE
from sundog.transports.grpc_connection import LAST, MORE
from sundog.transports.grpc_stream import GrpcStream
from sundog.transports.tcp import Tcp
from sundog.transports.zeromq import ZeroMq
from sundog.transports.zeromq_connection import CREDIT, DATA, GONE, SEEN
from sundog.transports.zeromq_connection import GOODBYE as ZEROMQ_GOODBYE

from . import zeromq_stranger
from .grpc_stranger import stranger_at

STREAMS = 10_000
MIB = 1024 * 1024


def a_stream(rng: Random) -> bytes:
    """A few valid frames, mostly with a goodbye."""
    sizes = [rng.choice((0, 1, 30, 1000, 66_000 if rng.random() < 0.05 else 5)) for _ in range(rng.randrange(1, 6))]
    frames = b"".join(size.to_bytes(4, "big") + rng.randbytes(size) for size in sizes)
    return frames + (GOODBYE if rng.random() < 0.8 else b"")


def mutated(rng: Random, stream: bytes) -> bytes:
    """The stream after one to three accidents."""
    changed = bytearray(stream)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed)) if changed else 0
        accident = rng.randrange(6)
        if accident == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif accident == 1:
            del changed[at:]
        elif accident == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif accident == 3:
            del changed[at : at + rng.randrange(1, 9)]
        elif accident == 4:
            changed[:4] = rng.choice((0, 2**26, 2**26 + 1, 2**31, 0xFFFFFF00, 0xFFFFFFFE, rng.randrange(2**32))).to_bytes(4, "big")
        else:
            changed += changed[at:]
    return bytes(changed)


async def outcome(connection: Connection) -> tuple[int, type[TransportError]]:
    """How many bytes of frames came, and how it ended."""
    received = 0
    while True:
        try:
            received += len(await connection.receive())
        except TransportError as error:
            return received, type(error)


async def test_ten_thousand_mutated_streams_harm_only_their_senders() -> None:
    """T104, in part: a typed error, that peer dropped, others unaffected, nothing allocated ahead of a check."""
    rng = Random(104)
    ends: dict[type[TransportError], int] = {}
    async with (
        await Tcp().listen("tcp://127.0.0.1:0") as listener,
        await Tcp().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        address = Address.parse(listener.contact)
        tracemalloc.start()
        try:
            for number in range(STREAMS):
                stream = mutated(rng, a_stream(rng))
                with socket.create_connection((address.host, address.port)) as stranger:
                    stranger.sendall(stream)
                connection = await listener.accept()
                received, end = await outcome(connection)
                ends[end] = ends.get(end, 0) + 1
                assert received <= len(stream)
                assert "open" not in repr(connection)
                if number % 100 == 0:
                    await client.send(b"still there?")
                    assert await server.receive() == b"still there?"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert set(ends) == {EndOfConnection, ConnectionLost, FrameTooLarge, MalformedFrame}
    assert min(ends.values()) > 100
    assert peak < 8 * MIB, peak


def some_messages(rng: Random) -> list[bytes]:
    """A few valid frames as they travel over gRPC, mostly with a goodbye."""
    messages = []
    for _ in range(rng.randrange(1, 6)):
        pieces = [rng.randbytes(rng.choice((1, 30, 1000))) for _ in range(rng.choice((1, 1, 1, 3)))]
        messages += [MORE + piece for piece in pieces[:-1]] + [LAST + pieces[-1]]
    return messages + [GOODBYE_MESSAGE] * (rng.random() < 0.8)


def mutated_messages(rng: Random, messages: list[bytes]) -> list[bytes]:
    """The messages after one to three accidents: to one of them, or to their order."""
    changed = list(messages)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed))
        accident = rng.randrange(5)
        if accident < 3:
            changed[at] = mutated(rng, changed[at])
        elif accident == 3:
            changed.insert(at, changed[rng.randrange(len(changed))])
        else:
            changed[at:] = changed[at : at + 1]
    return changed


async def test_ten_thousand_mutated_messages_harm_only_their_senders() -> None:
    """T104, in part: as above, on gRPC; what is below the messages is the library's."""
    rng = Random(104)
    ends: dict[type[TransportError], int] = {}
    said = 0
    async with (
        await GrpcStream().listen("grpc://127.0.0.1:0") as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
        stranger_at(listener.contact) as stranger,
    ):
        tracemalloc.start()
        try:
            while said < STREAMS:
                messages = mutated_messages(rng, some_messages(rng))
                said += len(messages)
                saying = asyncio.ensure_future(stranger.say(messages))
                connection = await listener.accept()
                received, end = await outcome(connection)
                await saying
                ends[end] = ends.get(end, 0) + 1
                assert received <= sum(map(len, messages))
                assert "open" not in repr(connection)
            await client.send(b"still there?")
            assert await server.receive() == b"still there?"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert set(ends) == {EndOfConnection, ConnectionLost, MalformedFrame}
    assert min(ends.values()) > 100
    assert peak < 8 * MIB, peak


def some_parts(rng: Random) -> list[list[bytes]]:
    """A few messages as they travel over ZeroMQ, of one part or two, mostly with a goodbye."""
    frames = [[DATA + rng.randbytes(rng.choice((0, 1, 30, 1000)))] for _ in range(rng.randrange(1, 5))]
    frames += [[DATA, rng.randbytes(rng.choice((0, 20_000)))]] * (rng.random() < 0.3)
    control = [CREDIT + bytes(8), CREDIT + rng.randrange(3).to_bytes(8, "big"), SEEN, GONE]
    frames[1:1] = [[rng.choice(control)]] * (rng.random() < 0.2)
    return frames + [[ZEROMQ_GOODBYE]] * (rng.random() < 0.8)


def mutated_parts(rng: Random, messages: list[list[bytes]]) -> list[list[bytes]]:
    """The messages after one to three accidents: to a part, to the parts of one message, or to their order."""
    changed = [list(message) for message in messages]
    for _ in range(rng.randrange(1, 4)):
        message = rng.choice(changed)
        accident = rng.randrange(5)
        if accident < 2:
            message[-1] = mutated(rng, message[-1])
        elif accident == 2:
            message.insert(rng.randrange(len(message) + 1), rng.randbytes(rng.randrange(9)))
        elif accident == 3:
            changed.insert(rng.randrange(len(changed)), message)
        else:
            del changed[changed.index(message) + 1 :]
    return changed


async def test_ten_thousand_mutated_zeromq_messages_harm_only_their_senders() -> None:
    """T104, in part: as above, on ZeroMQ; what is below the messages is the library's."""
    rng = Random(104)
    ends: dict[type[TransportError], int] = {}
    said = 0
    async with (
        await ZeroMq().listen("zmq://127.0.0.1:0") as listener,
        await ZeroMq().connect(listener.contact) as client,
        await listener.accept() as server,
        zeromq_stranger.stranger_at(listener.contact) as stranger,
    ):
        tracemalloc.start()
        try:
            while said < STREAMS:
                messages = mutated_parts(rng, some_parts(rng))
                said += len(messages)
                saying = asyncio.ensure_future(stranger.say(messages))
                connection = await listener.accept()
                received, end = await outcome(connection)
                await saying
                ends[end] = ends.get(end, 0) + 1
                assert received <= sum(len(part) for message in messages for part in message)
                assert "open" not in repr(connection)
            await client.send(b"still there?")
            assert await server.receive() == b"still there?"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        server.abort()

    assert set(ends) == {EndOfConnection, ConnectionLost, MalformedFrame}
    assert min(ends.values()) > 100
    assert peak < 8 * MIB, peak
