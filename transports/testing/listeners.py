"""Addresses, listening, connecting and accepting."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ...kernel.transport import (
    AddressError,
    ConnectFailed,
    ConnectionLost,
    Credentials,
    EndOfConnection,
    Listener,
    ListenFailed,
    SecurityNotSupported,
)
from .wire import Party, Wire, claim, echo, leave, meet, meet_alive, pair, raises, settle


async def a_free_address_is_found(wire: Wire) -> None:
    """Port 0: two listeners get two addresses, both real."""
    async with await _listen(wire) as first, await _listen(wire) as second:
        claim(first.address != second.address, f"two listeners at {first.address}")
        for listener in (first, second):
            client, server = await meet(wire, listener)
            await echo(client, server)
            client.abort()
            server.abort()


async def addresses_have_the_scheme(wire: Wire) -> None:
    """Listener and connections name themselves by addresses of the transport."""
    async with await _listen(wire) as listener:
        client, server = await meet(wire, listener)
        for address in (listener.address, listener.contact, client.local, client.peer, server.local, server.peer):
            claim(address.startswith(f"{wire.transport.scheme}://"), f"wanted {wire.transport.scheme}://…, got {address!r}")
        client.abort()
        server.abort()


async def an_address_that_makes_no_sense_is_refused(wire: Wire) -> None:
    """AddressError, both for listening and for connecting."""
    for address in (*wire.bad_addresses, "", "nonsense", f"not-{wire.transport.scheme}://x:1"):
        with raises(AddressError):
            await wire.transport.listen(address)
        with raises(AddressError):
            await wire.transport.connect(address)


async def nobody_there_is_an_error(wire: Wire) -> None:
    """ConnectFailed, with the address in its words."""
    with raises(ConnectFailed):
        await wire.transport.connect(wire.nobody)


async def an_address_cannot_be_taken_twice(wire: Wire) -> None:
    """ListenFailed for the second; the first is not disturbed."""
    async with await _listen(wire) as listener:
        with raises(ListenFailed):
            await wire.transport.listen(listener.address)
        client, server = await meet(wire, listener)
        await echo(client, server)
        client.abort()
        server.abort()


async def an_address_is_free_again_after_close(wire: Wire) -> None:
    """At once, though connections it accepted live on."""
    async with await _listen(wire) as listener:
        client, server = await meet(wire, listener)
    async with await wire.transport.listen(listener.address) as again:
        ends = await meet(wire, again)
        await echo(*ends)
        for end in (client, server, *ends):
            end.abort()


async def a_closed_listener_is_nobody(wire: Wire) -> None:
    """ConnectFailed after close."""
    async with await _listen(wire) as listener:
        pass
    with raises(ConnectFailed):
        await wire.transport.connect(listener.contact)


async def closing_the_listener_keeps_its_connections(wire: Wire) -> None:
    """What it has accepted lives on."""
    async with await _listen(wire) as listener:
        client, server = await meet(wire, listener)
    await echo(client, server)
    await echo(server, client)
    await asyncio.gather(client.close(), server.close())


async def closing_the_listener_wakes_accept(wire: Wire) -> None:
    """EndOfConnection, for the one under way and those after; closing twice is fine."""
    listener = await _listen(wire)
    accepting = asyncio.create_task(listener.accept())
    await settle(accepting)
    await listener.close()
    with raises(EndOfConnection):
        await accepting
    await listener.close()
    with raises(EndOfConnection):
        await listener.accept()


async def closing_the_listener_ends_what_it_did_not_accept(wire: Wire) -> None:
    """The client is told, as soon as it asks: by connect or by receive."""
    async with await _listen(wire) as listener:
        connecting = asyncio.create_task(wire.transport.connect(listener.contact))
        await settle(connecting, 0.2)
    with raises(ConnectFailed, ConnectionLost, EndOfConnection):
        client = await connecting
        try:
            await client.receive()
        finally:
            client.abort()


async def cancelling_accept_loses_nothing(wire: Wire) -> None:
    """Before a client comes, and in the same moment."""
    async with await _listen(wire) as listener:
        for _ in range(20):
            accepting = asyncio.create_task(listener.accept())
            await settle(accepting)
            connecting = asyncio.create_task(wire.transport.connect(listener.contact))
            await settle(connecting)
            accepting.cancel()
            await asyncio.wait({accepting})
            server = await listener.accept() if accepting.cancelled() else accepting.result()
            client = await connecting
            await echo(client, server)
            client.abort()
            server.abort()


async def cancelling_connect_leaves_nothing(wire: Wire) -> None:
    """The next one is served as if nothing had been."""
    async with await _listen(wire) as listener:
        for _ in range(10):
            connecting = asyncio.create_task(wire.transport.connect(listener.contact))
            await settle(connecting)
            connecting.cancel()
            await asyncio.wait({connecting})
            if not connecting.cancelled():
                connecting.result().abort()
        await meet_alive(wire, listener)


async def a_client_may_vanish_before_it_is_accepted(wire: Wire) -> None:
    """The listener goes on; accept skips it or gives a connection that is lost."""
    async with await _listen(wire) as listener:
        for is_clean in (False, True):
            connecting = asyncio.create_task(wire.transport.connect(listener.contact))
            if await settle(connecting, 0.2):
                await leave(connecting.result(), cleanly=is_clean)
            else:
                connecting.cancel()
        await meet_alive(wire, listener)


async def both_ends_may_vanish_at_once(wire: Wire) -> None:
    """Abort on both sides right after accept; a hundred times."""
    async with await _listen(wire) as listener:
        for _ in range(100):
            for end in await meet(wire, listener):
                end.abort()
        await meet_alive(wire, listener)


async def two_hundred_connections_live_side_by_side(wire: Wire) -> None:
    """All connect at once, all are served."""
    async with await _listen(wire) as listener, asyncio.TaskGroup() as group:
        clients = [group.create_task(wire.transport.connect(listener.contact)) for _ in range(200)]
        servers = [await listener.accept() for _ in range(200)]
        for number, client in enumerate(clients):
            await (await client).send(number.to_bytes(2, "big"))
        got = sorted([bytes(await server.receive()) for server in servers])
        claim(got == [number.to_bytes(2, "big") for number in range(200)], "not every connection delivers")
        for server in servers:
            group.create_task(server.close())
        for client in clients:
            group.create_task(client.result().close())


async def in_clear_there_is_no_certificate(wire: Wire) -> None:
    """`peer_certificate` is None at both ends."""
    async with pair(wire) as (client, server):
        claim(client.peer_certificate is None and server.peer_certificate is None, "a certificate in clear")


async def security_that_is_not_supported_is_refused(wire: Wire) -> None:
    """SecurityNotSupported from `listen` and `connect`, never a connection in clear instead."""
    party = Party(Credentials(b"certificate"))
    with raises(SecurityNotSupported):
        await wire.transport.listen(wire.address(), security=party)
    async with await wire.transport.listen(wire.address()) as listener:
        with raises(SecurityNotSupported):
            await wire.transport.connect(listener.contact, security=party)
        await meet_alive(wire, listener)


async def nothing_is_left_behind(wire: Wire) -> None:
    """No descriptor stays open after connections were closed or aborted."""
    await _come_and_go(wire)
    before = _descriptors()
    for _ in range(5):
        await _come_and_go(wire)
    after = _descriptors()
    claim(after <= before, f"{after - before} descriptors stay open")


async def a_listener_tells_its_state(wire: Wire) -> None:
    """Its repr has the address, and: open, closed."""
    async with await _listen(wire) as listener:
        claim(listener.address in repr(listener) and "open" in repr(listener), f"wanted address and 'open' in {listener!r}")
    claim("closed" in repr(listener), f"wanted 'closed' in {listener!r}")


def _descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def _listen(wire: Wire) -> Listener:
    return await wire.transport.listen(wire.address())


async def _come_and_go(wire: Wire) -> None:
    async with pair(wire) as (client, server):
        await echo(client, server)
        await asyncio.gather(client.close(), server.close())
    async with pair(wire) as (client, server):
        client.abort()
        with raises(ConnectionLost):
            await server.receive()
