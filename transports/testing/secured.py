"""Connections secured by certificates; for wires with `credentials`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...kernel.transport import (
    CertificateRejected,
    ConnectFailed,
    ConnectionLost,
    Credentials,
    EndOfConnection,
    FrameTooLarge,
    HandshakeFailed,
    Listener,
    MalformedFrame,
)
from .wire import Party, Wire, claim, echo, meet, meet_alive, raises


async def both_ends_see_the_certificate_of_the_other(wire: Wire) -> None:
    """`peer_certificate` is what the other end presented, and what `judge` was asked about."""
    async with _secured(wire) as (listener, server, client):
        near, far = await meet(wire, listener, security=client)
        claim(near.peer_certificate == server.presented.certificate, "the client does not see the listener's certificate")
        claim(far.peer_certificate == client.presented.certificate, "the server does not see the client's certificate")
        claim(client.judged == [server.presented.certificate], "the client did not judge the listener's certificate, once")
        claim(server.judged == [client.presented.certificate], "the listener did not judge the client's certificate, once")
        await echo(near, far)
        await echo(far, near)
        await asyncio.gather(near.close(), far.close())


async def a_renewed_certificate_is_used_at_the_next_handshake(wire: Wire) -> None:
    """At both ends, without listening again; connections made before keep theirs and live on."""
    async with _secured(wire) as (listener, server, client):
        old = await meet(wire, listener, security=client)
        before = [end.peer_certificate for end in old]
        server.presented, client.presented = _new(wire, "server"), _new(wire, "client")
        ends = await meet(wire, listener, security=client)
        after = [end.peer_certificate for end in ends]
        claim(after == [server.presented.certificate, client.presented.certificate], "an old certificate after a renewal")
        claim([end.peer_certificate for end in old] == before, "a certificate changed while its connection lived")
        for near, far in (old, ends):
            await echo(near, far)
            near.abort()
            far.abort()


async def a_listener_that_is_rejected_gets_no_frame(wire: Wire) -> None:
    """The client's own error comes out of `connect`; the listener goes on."""
    async with _secured(wire) as (listener, server, client):
        client.verdict = CertificateRejected("not the listener that was wanted")
        try:
            await wire.transport.connect(listener.contact, security=client)
        except CertificateRejected as error:
            claim(error is client.verdict, "another error than the client's own")
        else:
            claim(False, "a connection to a listener that the client rejects")
        client.verdict = None
        await meet_alive(wire, listener, security=client)
        claim(client.judged.count(server.presented.certificate) == 2, "the listener was not judged at each handshake")


async def a_client_that_is_rejected_never_reaches_accept(wire: Wire) -> None:
    """HandshakeFailed at the client, without the reason; the listener is told, and goes on."""
    async with _secured(wire) as (listener, server, client):
        server.verdict = CertificateRejected("revoked: a reason for the log only")
        try:
            await wire.transport.connect(listener.contact, security=client)
        except HandshakeFailed as error:
            claim("revoked" not in str(error), "the reason travelled to a peer that is not trusted")
        else:
            claim(False, "a connection of a client that the listener rejects")
        claim(await server.failure() is server.verdict, "the listener's `handshake_failed` did not get its own error")
        await _next_is_good(wire, listener, server, client)


async def a_judge_that_fails_rejects(wire: Wire) -> None:
    """An unexpected exception in `judge` accepts nobody, at either end; the listener goes on."""
    async with _secured(wire) as (listener, server, client):
        for party in (client, server):
            party.verdict = KeyError("a mistake in judge")
            with raises(HandshakeFailed):
                await wire.transport.connect(listener.contact, security=client)
            party.verdict = None
        await meet_alive(wire, listener, security=client)


async def without_credentials_there_is_no_connection(wire: Wire) -> None:
    """At the client its own error; at the listener one failed handshake, and it goes on."""
    async with _secured(wire) as (listener, server, client):
        client.trouble = CertificateRejected("our own certificate has expired")
        with raises(CertificateRejected):
            await wire.transport.connect(listener.contact, security=client)
        client.trouble, server.trouble = None, CertificateRejected("the listener's own certificate has expired")
        with raises(HandshakeFailed):
            await wire.transport.connect(listener.contact, security=client)
        await server.failure()
        server.trouble = None
        await _next_is_good(wire, listener, server, client)


async def a_client_in_clear_is_turned_away(wire: Wire) -> None:
    """By a listener with security: an error by `connect`, or by `receive` where the wire has no handshake in clear."""
    async with _secured(wire) as (listener, server, client):
        with raises(ConnectFailed, ConnectionLost, EndOfConnection, MalformedFrame, FrameTooLarge):
            connection = await wire.transport.connect(listener.contact)
            try:
                await connection.send(b"in clear")
                await connection.receive()
            finally:
                connection.abort()
        await server.failure()
        claim(not server.judged, "a client without a certificate was judged")
        await _next_is_good(wire, listener, server, client)


async def a_listener_in_clear_is_not_accepted(wire: Wire) -> None:
    """HandshakeFailed at a client with security; the listener goes on."""
    client = Party(_new(wire, "client"))
    async with await wire.transport.listen(wire.address()) as listener:
        serving = asyncio.create_task(_serve_in_clear(listener))
        with raises(HandshakeFailed):
            await wire.transport.connect(listener.contact, security=client)
        serving.cancel()
        await asyncio.wait({serving})
        await meet_alive(wire, listener)


async def _serve_in_clear(listener: Listener) -> None:
    """Receive once from each connection: it has to fail before the client can learn anything, where the wire has no handshake in clear."""
    while True:
        async with await listener.accept() as connection:
            with raises(ConnectionLost, EndOfConnection, MalformedFrame, FrameTooLarge):
                await connection.receive()
            connection.abort()


def _new(wire: Wire, name: str) -> Credentials:
    if wire.credentials is None:
        raise ValueError("this case needs a wire with credentials")
    return wire.credentials(name)


@asynccontextmanager
async def _secured(wire: Wire) -> AsyncIterator[tuple[Listener, Party, Party]]:
    """A listener with security, its party, and that of its clients."""
    server, client = Party(_new(wire, "server")), Party(_new(wire, "client"))
    async with await wire.transport.listen(wire.address(), security=server) as listener:
        yield listener, server, client


async def _next_is_good(wire: Wire, listener: Listener, server: Party, client: Party) -> None:
    """Claim that the next connection at `accept` is the one made now: none that was rejected came before it."""
    server.verdict, client.presented = None, _new(wire, "client")
    near, far = await meet(wire, listener, security=client)
    claim(far.peer_certificate == client.presented.certificate, "a rejected client came out of accept")
    await echo(near, far)
    near.abort()
    far.abort()
