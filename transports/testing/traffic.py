"""Do frames arrive: all, whole, once, and in order?"""

from __future__ import annotations

import asyncio
from array import array
from random import Random

from ...kernel.transport import MAX_FRAME_BYTES, Connection, FrameTooLarge
from .wire import KIB, MIB, Wire, claim, echo, meet, number_of, numbered, pair, raises

_PATTERN = bytes(range(256))
_SIZES = (0, 1, 3, 4, 5, 255, 256, 4095, 4096, 65531, 65532, 65533, 65535, 65536, 65537, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1, 5 * MIB)


async def frames_arrive_in_order(wire: Wire) -> None:
    """A thousand short frames, sent by one task."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(_send_numbers(client, 1000))
        await _expect_numbers(server, 1000)


async def both_directions_work_at_once(wire: Wire) -> None:
    """Each side sends and receives; neither direction disturbs the other."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        for one, other in ((client, server), (server, client)):
            group.create_task(_send_numbers(one, 300, 10 * KIB))
            group.create_task(_expect_numbers(other, 300))


async def megabytes_both_ways_do_not_deadlock(wire: Wire) -> None:
    """Much more than any buffer, in both directions at once."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        for one, other in ((client, server), (server, client)):
            group.create_task(_send_numbers(one, 64, 512 * KIB))
            group.create_task(_expect_numbers(other, 64))


async def an_empty_frame_is_a_frame(wire: Wire) -> None:
    """Nothing is something: it arrives, between others."""
    async with pair(wire) as (client, server):
        for frame in (b"", b"x", b"", b""):
            await echo(client, server, frame)


async def every_size_arrives_whole(wire: Wire) -> None:
    """Around the sizes where implementations have their edges."""
    async with pair(wire) as (client, server):
        for size in _SIZES:
            await echo(client, server, _bytes(size))


async def sizes_may_follow_each_other_at_random(wire: Wire) -> None:
    """Short and long frames without a pause in between."""
    rng = Random(1)
    sizes = [rng.choice((0, 7, 300, 70 * KIB, 600 * KIB)) + rng.randrange(100) for _ in range(150)]
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(_send_all(client, [_bytes(size) for size in sizes]))
        for size in sizes:
            claim(bytes(await server.receive()) == _bytes(size), f"a frame of {size} bytes is not what was sent")


async def the_largest_frame_arrives_whole(wire: Wire) -> None:
    """64 MiB, which every transport must carry."""
    async with pair(wire) as (client, server):
        await echo(client, server, _bytes(MAX_FRAME_BYTES))


async def parts_are_joined(wire: Wire) -> None:
    """What is sent in parts arrives as one frame; empty parts do not matter."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(client.send(b"head", b"", bytearray(b"-body-"), memoryview(b"tail"), b""))
        claim(bytes(await server.receive()) == b"head-body-tail", "parts are lost or out of order")


async def no_parts_make_an_empty_frame(wire: Wire) -> None:
    """send() is send(b"")."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(client.send())
        claim(bytes(await server.receive()) == b"", "wanted an empty frame")


async def thousands_of_parts_are_one_frame(wire: Wire) -> None:
    """More parts than one system call takes."""
    parts = [_bytes(size % 97) for size in range(5000)]
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(client.send(*parts))
        claim(bytes(await server.receive()) == b"".join(parts), "parts are lost or out of order")


async def a_view_of_numbers_counts_its_bytes(wire: Wire) -> None:
    """A memoryview of wider items is sent by its bytes."""
    numbers = array("d", [1.5, -2.25, 1e300])
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(client.send(memoryview(numbers), memoryview(array("d"))))
        claim(bytes(await server.receive()) == numbers.tobytes(), "wanted the bytes of the numbers")


async def parts_may_be_reused_after_send(wire: Wire) -> None:
    """The sender overwrites its buffer as soon as send returns."""
    buffer = bytearray(300 * KIB)
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        received = group.create_task(_receive_all(server, 40))
        for number in range(40):
            buffer[:] = bytes([number]) * len(buffer)
            await client.send(buffer)
        for number, frame in enumerate(await received):
            claim(bytes(frame) == bytes([number]) * len(buffer), "a frame changed after it was sent")


async def a_received_frame_belongs_to_the_receiver(wire: Wire) -> None:
    """Frames kept by the receiver are not overwritten by later ones."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        group.create_task(_send_numbers(client, 60, 100 * KIB))
        kept = await _receive_all(server, 60)
        claim([number_of(frame) for frame in kept] == list(range(60)), "a received frame was overwritten")


async def concurrent_sends_do_not_mix(wire: Wire) -> None:
    """Fifty tasks send long frames in parts at once."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(client.send(*[bytes([number]) * (20 * KIB)] * 7))
        frames = [bytes(frame) for frame in await _receive_all(server, 50)]
        claim(sorted(frames) == [bytes([number]) * (140 * KIB) for number in range(50)], "frames are mixed")


async def concurrent_sends_keep_the_order_of_calls(wire: Wire) -> None:
    """Who calls first is sent first, even when all must wait."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(client.send(numbered(number, 150 * KIB)))
        await _expect_numbers(server, 100)


async def connections_do_not_mix(wire: Wire) -> None:
    """Ten connections to one listener, each with traffic of its own."""
    async with await wire.transport.listen(wire.address()) as listener:
        pairs = [await meet(wire, listener) for _ in range(10)]
        async with asyncio.TaskGroup() as group:
            for mark, (client, server) in enumerate(pairs):
                group.create_task(_send_all(client, [bytes([mark]) * (50 * KIB)] * 20))
                group.create_task(_expect_all(server, bytes([mark]) * (50 * KIB), 20))
        for ends in pairs:
            for end in ends:
                end.abort()


async def a_frame_at_the_limit_passes_and_one_above_is_refused(wire: Wire) -> None:
    """FrameTooLarge for the sender; nothing was sent, the connection lives on."""
    async with pair(wire, max_frame_bytes=100 * KIB) as (client, server):
        await echo(client, server, _bytes(100 * KIB))
        with raises(FrameTooLarge):
            await client.send(_bytes(60 * KIB), _bytes(40 * KIB + 1))
        await echo(client, server)


async def a_limit_may_be_changed_while_a_connection_lives(wire: Wire) -> None:
    """Whoever does not know a peer yet takes less of it; the larger frame is an error at one of the ends."""
    async with pair(wire) as (client, server):
        server.max_frame_bytes = KIB
        await echo(client, server, _bytes(KIB))
        server.max_frame_bytes = 100 * KIB
        await echo(client, server, _bytes(100 * KIB))
        server.max_frame_bytes = KIB
        with raises(FrameTooLarge):
            await client.send(_bytes(2 * KIB))
            await server.receive()


def _bytes(size: int) -> bytes:
    """So many bytes that show when some are lost or doubled: the period is not a power of two."""
    pattern = _PATTERN[:251]
    return (pattern * (size // len(pattern) + 1))[:size]


async def _send_all(connection: Connection, frames: list[bytes]) -> None:
    for frame in frames:
        await connection.send(frame)


async def _send_numbers(connection: Connection, count: int, size_bytes: int = 0) -> None:
    for number in range(count):
        await connection.send(numbered(number, size_bytes))


async def _receive_all(connection: Connection, count: int) -> list[bytes | bytearray | memoryview]:
    return [await connection.receive() for _ in range(count)]


async def _expect_all(connection: Connection, frame: bytes, count: int) -> None:
    for _ in range(count):
        claim(bytes(await connection.receive()) == frame, "a frame of another connection arrived")


async def _expect_numbers(connection: Connection, count: int) -> None:
    for number in range(count):
        got = number_of(await connection.receive())
        claim(got == number, f"wanted frame {number}, got {got}")
