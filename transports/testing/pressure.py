"""What happens while one side does not read, or stops waiting?"""

from __future__ import annotations

import asyncio
import contextlib

from ...kernel.transport import BusyError, Connection, ConnectionLost, EndOfConnection
from .wire import Flood, Wire, claim, drain, echo, meet, number_of, numbered, pair, raises, settle


async def a_slow_reader_blocks_the_sender(wire: Wire) -> None:
    """Send waits before more than a bounded amount is under way; nothing is lost when the reader goes on."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        flood.stop()
        blocked = flood.sent + 1
        for number in range(blocked):
            claim(number_of(await server.receive()) == number, "frames are lost or out of order after a pause")
        await flood.task
        await echo(client, server)


async def many_short_frames_block_the_sender_too(wire: Wire) -> None:
    """The bound holds for frames of one kilobyte."""
    async with pair(wire) as (client, server):
        flood = Flood(client, frame_bytes=1024)
        await flood.until_blocked(wire)
        flood.stop()
        for number in range(flood.sent + 1):
            claim(number_of(await server.receive()) == number, "frames are lost or out of order after a pause")
        await flood.task


async def a_slow_reader_does_not_hold_up_others(wire: Wire) -> None:
    """One connection is blocked; another to the same listener, and the way back, are not."""
    async with await wire.transport.listen(wire.address()) as listener:
        slow, lazy = await meet(wire, listener)
        quick, keen = await meet(wire, listener)
        flood = Flood(slow)
        await flood.until_blocked(wire)
        await echo(quick, keen)
        await echo(keen, quick)
        await echo(lazy, slow)
        for end in (slow, lazy, quick, keen):
            end.abort()
        await flood.failure(ConnectionLost)


async def a_blocked_send_can_be_cancelled(wire: Wire) -> None:
    """Afterwards the connection lives, or is aborted if a part of the frame was sent; never does garbage arrive."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        flood.task.cancel()
        await asyncio.wait({flood.task})
        after = asyncio.create_task(_send_and_close(client, numbered(flood.sent)))
        numbers, _ = await drain(server)
        await after
        claim(numbers == list(range(len(numbers))), f"garbage arrived: {numbers[-3:]}")
        claim(len(numbers) <= flood.sent + 1, "a frame that was cancelled arrived")


async def a_send_that_waits_behind_another_can_be_cancelled(wire: Wire) -> None:
    """It is not sent; the one before and the one behind it are."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        flood.stop()
        second = asyncio.create_task(client.send(b"never sent"))
        third = asyncio.create_task(client.send(numbered(flood.sent + 1)))
        claim(not await settle(second), "a send overtook one that is blocked")
        second.cancel()
        for number in range(flood.sent + 2):
            claim(number_of(await server.receive()) == number, "the cancelled frame was sent, or another was not")
        await asyncio.gather(flood.task, third)


async def close_by_the_peer_wakes_a_blocked_send(wire: Wire) -> None:
    """The sender is told, instead of waiting for ever."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        await server.close()
        await flood.failure(EndOfConnection, ConnectionLost)


async def abort_by_the_peer_wakes_a_blocked_send(wire: Wire) -> None:
    """The sender is told, instead of waiting for ever."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        server.abort()
        await flood.failure(ConnectionLost)


async def abort_wakes_the_own_blocked_sends(wire: Wire) -> None:
    """All of them, the one in front and those behind it."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        behind = [asyncio.create_task(client.send(b"x")) for _ in range(5)]
        claim(not await settle(behind[0]), "a send overtook one that is blocked")
        client.abort()
        await flood.failure(ConnectionLost)
        for task in behind:
            with raises(ConnectionLost):
                await task
        claim((await drain(server))[1] is ConnectionLost, "the peer of an aborted connection must see it broken")


async def close_gives_up_on_a_peer_that_does_not_read(wire: Wire) -> None:
    """It ends in bounded time; what was not delivered is not called a clean end."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        async with asyncio.timeout(wire.close_seconds):
            await client.close()
        await flood.failure(EndOfConnection, ConnectionLost)
        numbers, end = await drain(server)
        claim(numbers == list(range(len(numbers))), "garbage arrived")
        claim(end is ConnectionLost, "frames are missing, and the receiver was told of a clean end")


async def cancelling_receive_loses_nothing(wire: Wire) -> None:
    """Whether it is cancelled before the frame comes, in the same moment, or just after."""
    async with pair(wire) as (client, server):
        for number in range(300):
            receiving = asyncio.create_task(server.receive())
            await settle(receiving)
            if number % 3:
                await client.send(numbered(number))
            if number % 3 == 2:
                await settle(receiving)
            receiving.cancel()
            await asyncio.wait({receiving})
            if not number % 3:
                await client.send(numbered(number))
            frame = await server.receive() if receiving.cancelled() else receiving.result()
            claim(number_of(frame) == number, f"wanted frame {number}, got {number_of(frame)}")


async def a_deadline_on_receive_keeps_the_connection(wire: Wire) -> None:
    """A receiver that gives up waiting can come back."""
    async with pair(wire) as (client, server):
        for _ in range(3):
            try:
                async with asyncio.timeout(0.01):
                    await server.receive()
            except TimeoutError:
                pass
            else:
                claim(is_so=False, sentence="a frame arrived that nobody sent")
        await echo(client, server)


async def a_second_receiver_is_refused(wire: Wire) -> None:
    """BusyError for the second; the first gets the frame, and the next may receive afterwards."""
    async with pair(wire) as (client, server):
        first = asyncio.create_task(server.receive())
        await settle(first)
        with raises(BusyError):
            await server.receive()
        await client.send(b"for the first")
        claim(bytes(await first) == b"for the first", "the first receiver lost its frame")
        await echo(client, server)


async def _send_and_close(connection: Connection, frame: bytes) -> None:
    """Send if the connection still lives, then end it."""
    with contextlib.suppress(ConnectionLost):
        await connection.send(frame)
    await connection.close()
