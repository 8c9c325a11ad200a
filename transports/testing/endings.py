"""How does a connection end, in every phase, and is each side told the truth?"""

from __future__ import annotations

import asyncio

from ...kernel.transport import Connection, ConnectionLost, EndOfConnection
from .wire import KIB, MIB, Flood, Wire, claim, drain, echo, leave, numbered, pair, raises, settle


async def a_clean_end_follows_all_frames(wire: Wire) -> None:
    """The receiver gets everything, then EndOfConnection."""
    async with pair(wire) as (client, server):
        for number in range(20):
            await client.send(numbered(number, 5 * KIB))
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(client.close())
            claim(await drain(server) == (list(range(20)), EndOfConnection), "wanted 20 frames and a clean end")
        claim(closing.done(), "close did not end")


async def close_delivers_what_was_sent(wire: Wire) -> None:
    """Megabytes that are still under way when close is called arrive."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        receiving = group.create_task(drain(server))
        for number in range(16):
            await client.send(numbered(number, MIB))
        await client.close()
        claim(await receiving == (list(range(16)), EndOfConnection), "close lost frames")


async def close_waits_its_turn_behind_sends(wire: Wire) -> None:
    """Sends that were called before close are delivered."""
    async with pair(wire) as (client, server), asyncio.TaskGroup() as group:
        sends = [group.create_task(client.send(numbered(number, 700 * KIB))) for number in range(30)]
        await settle(sends[0])
        group.create_task(client.close())
        claim(await drain(server) == (list(range(30)), EndOfConnection), "close overtook a send")


async def an_end_stays_an_end(wire: Wire) -> None:
    """Receive raises the same again and again."""
    async with pair(wire) as (client, server):
        await _close_under_a_reader(client, server)
        for _ in range(3):
            with raises(EndOfConnection):
                await server.receive()


async def a_loss_stays_a_loss(wire: Wire) -> None:
    """Receive raises the same again and again."""
    async with pair(wire) as (client, server):
        client.abort()
        for _ in range(3):
            with raises(ConnectionLost):
                await server.receive()


async def close_wakes_the_waiting_peer(wire: Wire) -> None:
    """A receive under way when the peer closes."""
    async with pair(wire) as (client, server):
        receiving = asyncio.create_task(server.receive())
        await settle(receiving)
        await client.close()
        with raises(EndOfConnection):
            await receiving


async def abort_wakes_the_waiting_peer(wire: Wire) -> None:
    """A receive under way when the peer aborts: not a clean end."""
    async with pair(wire) as (client, server):
        receiving = asyncio.create_task(server.receive())
        await settle(receiving)
        client.abort()
        with raises(ConnectionLost):
            await receiving


async def close_wakes_the_own_receive(wire: Wire) -> None:
    """A receive under way on the side that closes."""
    async with pair(wire) as (client, _):
        receiving = asyncio.create_task(client.receive())
        await settle(receiving)
        await client.close()
        with raises(EndOfConnection):
            await receiving


async def abort_wakes_the_own_receive(wire: Wire) -> None:
    """A receive under way on the side that aborts."""
    async with pair(wire) as (client, _):
        receiving = asyncio.create_task(client.receive())
        await settle(receiving)
        client.abort()
        with raises(ConnectionLost):
            await receiving


async def a_closed_side_neither_sends_nor_receives(wire: Wire) -> None:
    """EndOfConnection for both, also when frames lay unread."""
    async with pair(wire) as (client, server):
        await server.send(b"unread")
        await client.close()
        with raises(EndOfConnection):
            await client.send(b"x")
        with raises(EndOfConnection):
            await client.receive()


async def an_aborted_side_neither_sends_nor_receives(wire: Wire) -> None:
    """ConnectionLost for both, also when frames lay unread."""
    async with pair(wire) as (client, server):
        await server.send(b"unread")
        client.abort()
        with raises(ConnectionLost):
            await client.send(b"x")
        with raises(ConnectionLost):
            await client.receive()


async def there_is_no_half_close(wire: Wire) -> None:
    """Once the peer's end has been received, sending raises EndOfConnection."""
    async with pair(wire) as (client, server):
        await _close_under_a_reader(client, server)
        with raises(EndOfConnection):
            await server.send(b"too late")


async def sending_to_an_aborted_peer_is_a_loss(wire: Wire) -> None:
    """Once the loss has been received, sending raises ConnectionLost."""
    async with pair(wire) as (client, server):
        client.abort()
        with raises(ConnectionLost):
            await server.receive()
        with raises(ConnectionLost):
            await server.send(b"too late")


async def close_is_quick_between_idle_ends(wire: Wire) -> None:
    """The peer does not have to do anything for it."""
    async with pair(wire) as (client, _), asyncio.timeout(1):
        await client.close()


async def closing_twice_is_fine(wire: Wire) -> None:
    """One after the other, at once, and after the peer did."""
    async with pair(wire) as (client, server):
        await asyncio.gather(client.close(), client.close())
        await client.close()
        await server.close()
        await server.close()


async def both_sides_may_close_at_once(wire: Wire) -> None:
    """Nobody waits for the other's answer in vain."""
    async with pair(wire) as (client, server), asyncio.timeout(1):
        await asyncio.gather(client.close(), server.close())


async def both_sides_may_close_in_the_middle_of_traffic(wire: Wire) -> None:
    """Both send without pause and nobody reads; both closes and all sends end."""
    async with pair(wire) as (client, server):
        floods = [Flood(client), Flood(server)]
        await floods[0].until_blocked(wire)
        async with asyncio.timeout(wire.close_seconds):
            await asyncio.gather(client.close(), server.close())
        for flood in floods:
            await flood.failure(EndOfConnection, ConnectionLost)


async def aborting_twice_is_fine(wire: Wire) -> None:
    """Abort after abort, on both sides, and close after abort."""
    async with pair(wire) as (client, server):
        for end in (client, client, server, server):
            end.abort()
        await client.close()
        await server.close()


async def abort_after_close_is_fine(wire: Wire) -> None:
    """And changes nothing."""
    async with pair(wire) as (client, server):
        await _close_under_a_reader(client, server)
        client.abort()
        server.abort()
        with raises(EndOfConnection):
            await client.receive()
        with raises(EndOfConnection):
            await server.receive()


async def abort_cuts_a_close_short(wire: Wire) -> None:
    """A close that waits for a slow peer ends at once when the connection is aborted."""
    async with pair(wire) as (client, _):
        flood = Flood(client)
        await flood.until_blocked(wire)
        closing = asyncio.create_task(client.close())
        await settle(closing)
        client.abort()
        async with asyncio.timeout(1):
            await closing
        await flood.failure(EndOfConnection, ConnectionLost)


async def a_cancelled_close_leaves_nothing_open(wire: Wire) -> None:
    """The connection is gone all the same."""
    async with pair(wire) as (client, server):
        flood = Flood(client)
        await flood.until_blocked(wire)
        closing = asyncio.create_task(client.close())
        await settle(closing)
        closing.cancel()
        await asyncio.wait({closing})
        await flood.failure(EndOfConnection, ConnectionLost)
        claim((await drain(server))[1] is ConnectionLost, "frames are missing, and the receiver was told of a clean end")


async def a_frame_cut_off_never_arrives(wire: Wire) -> None:
    """Abort in the middle of a long frame: the receiver sees a loss, not a part."""
    async with pair(wire) as (client, server):
        sending = asyncio.create_task(client.send(bytes(60 * MIB)))
        await settle(sending, 0.05)
        client.abort()
        numbers, end = await drain(server)
        claim(end is ConnectionLost and len(numbers) <= int(sending.done()), "a part of a frame was delivered")
        await asyncio.wait({sending})
        sending.cancelled() or sending.exception()  # told apart in other cases


async def an_abort_is_never_a_clean_end(wire: Wire) -> None:
    """Frames may be lost before it; those that arrive are a beginning of what was sent."""
    async with pair(wire) as (client, server):
        for number in range(50):
            await client.send(numbered(number))
        client.abort()
        numbers, end = await drain(server)
        claim(numbers == list(range(len(numbers))), "garbage arrived")
        claim(end is ConnectionLost, "an abort looks like a clean end")


async def async_with_closes(wire: Wire) -> None:
    """At the end of the block the peer sees a clean end."""
    async with pair(wire) as (client, server):
        async with client:
            await echo(client, server)
        with raises(EndOfConnection):
            await server.receive()


async def repr_tells_the_state(wire: Wire) -> None:
    """The peer's address, and: open, closed, aborted."""
    for state, is_clean in (("closed", True), ("aborted", False)):
        async with pair(wire) as (client, _):
            claim(client.peer in repr(client) and "open" in repr(client), f"wanted the peer and 'open' in {client!r}")
            await leave(client, cleanly=is_clean)
            claim(state in repr(client) and "open" not in repr(client), f"wanted {state!r} in {client!r}")


async def _close_under_a_reader(client: Connection, server: Connection) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(client.close())
        with raises(EndOfConnection):
            await server.receive()
