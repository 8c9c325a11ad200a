"""How frames travel over gRPC: raw bytes on one bidirectional stream a connection, no protobuf, no generated code.

grpc.aio knows one event loop a process: loops one after the other are fine, two at once are not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, cast
from urllib.parse import unquote

import grpc
import grpc.aio

from ..kernel.transport import (
    MAX_FRAME_BYTES,
    AddressError,
    ConnectFailed,
    Connection,
    EndOfConnection,
    Listener,
    ListenFailed,
    Security,
    Transport,
)
from ..kernel.wording import reason_of
from .address import Address
from .grpc_connection import PIECE_BYTES, GrpcConnection
from .listener import BACKLOG
from .mailbox import Mailbox, a_turn
from .resolving import Endpoint, to_bind, to_dial

METHOD = "/sundog.Wire/Frames"

_CALLER = "sundog-caller"
"""The server tells the client under this name as whom it sees it: the library does not say what port it calls from."""
_FOREVER_SECONDS = 1e9
_SILENT_MS = 5_000
"""So long may somebody hold a descriptor without a stream."""

_OPTIONS = [
    ("grpc.max_receive_message_length", PIECE_BYTES + 1),
    ("grpc.max_send_message_length", PIECE_BYTES + 1),
]
"""The limit of a message is checked before memory is taken for it."""
_SERVER_OPTIONS = [
    *_OPTIONS,
    ("grpc.so_reuseport", 0),  # else two servers would share a port, and each get half of the sites
    ("grpc.max_concurrent_streams", 1),
    ("grpc.keepalive_time_ms", 60_000),  # a frozen peer of an aborted connection would hold its descriptor for ever
    ("grpc.server_handshake_timeout_ms", _SILENT_MS),  # who does not speak HTTP/2
    ("grpc.max_connection_idle_ms", _SILENT_MS),  # who opens no stream; ours open one at once, and leave with it
]
_CLIENT_OPTIONS = [
    *_OPTIONS,
    ("grpc.use_local_subchannel_pool", 1),  # else all channels to one server share one TCP connection
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]


class GrpcStream(Transport):
    """grpc://host:port; a host of `*` listens on every interface, IPv6 too where there is one."""

    scheme = "grpc"

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        self.require_clear(security, address)
        wanted = Address.parse_as("grpc", address)
        _stay()
        listener = GrpcListener(wanted, max_frame_bytes)
        try:
            await listener.start(str((await to_bind(wanted))[1][0]))
        except OSError as error:
            raise ListenFailed(reason_of(error), where=address) from error
        except RuntimeError as error:
            raise ListenFailed(
                "the address cannot be bound: another program holds the port, or it is not one of this machine", where=address
            ) from error
        return listener

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        self.require_clear(security, address)
        wanted = Address.parse_as("grpc", address)
        try:
            endpoints = await to_dial(wanted)
        except OSError as error:
            raise ConnectFailed(reason_of(error), where=address) from error
        failures = []
        for endpoint in endpoints:
            try:
                return await _connected(endpoint, wanted, max_frame_bytes)
            except ConnectFailed as error:
                failures.append(error)
        raise failures[0]


class GrpcListener(Listener):
    """Accepts the streams that clients open. Made by `GrpcStream.listen`."""

    def __init__(self, wanted: Address, max_frame_bytes: int) -> None:
        self.address = self.contact = str(wanted)
        self._wanted = wanted
        self._max_frame_bytes = max_frame_bytes
        self._arrived: Mailbox[GrpcConnection] = Mailbox(self.address)
        self._server = grpc.aio.server(handlers=[_Door(self._serve)], options=_SERVER_OPTIONS)
        self._live: set[GrpcConnection] = set()
        self._stopping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}: {self._arrived.state}, {len(self._arrived)} connections wait>"

    async def start(self, host: str) -> None:
        """Bind and begin to accept. Raises RuntimeError if it cannot be bound."""
        port = self._server.add_insecure_port(str(Address("grpc", host, self._wanted.port)).removeprefix("grpc://"))
        bound = Address("grpc", self._wanted.host if self._wanted.is_wildcard else host, port)
        self.address, self.contact = str(bound), str(bound.contact())
        await self._server.start()

    async def accept(self) -> Connection:
        return await self._arrived.get()

    async def close(self) -> None:
        if self._arrived.end is not None:
            return
        for connection in self._arrived.finish(EndOfConnection, "the listener has closed", drop=True):
            connection.abort()
        # The port is free at once; the server lives until its last connection has gone, which nobody needs to wait for.
        self._stopping = asyncio.create_task(self._server.stop(_FOREVER_SECONDS))
        _keep(self._stopping)
        if all(connection.is_over for connection in self._live):
            await asyncio.wait({self._stopping}, timeout=GrpcConnection.linger_seconds)
        else:
            await a_turn()

    async def _serve(self, _: object, context: Any) -> None:
        """One stream, from its arrival to its end; the library cancels it when the peer has cancelled or gone."""
        if self._arrived.end is not None or len(self._arrived) >= BACKLOG:
            _end_with(context, grpc.StatusCode.UNAVAILABLE, "the server does not accept connections")
            return
        peer = _address_of(context.peer())
        await context.send_initial_metadata(((_CALLER, peer),))
        connection = GrpcConnection(context, local=self.address, peer=peer, max_frame_bytes=self._max_frame_bytes)
        # The context's own done callbacks would be a circle of references, and keep the connection until it is collected.
        task = cast("asyncio.Task[None]", asyncio.current_task())
        task.add_done_callback(lambda _: self._forget(connection))
        self._live.add(connection)
        self._arrived.put(connection)
        await connection.run()
        if not connection.is_clean:
            _end_with(context, grpc.StatusCode.ABORTED, "the connection was aborted")

    def _forget(self, connection: GrpcConnection) -> None:
        self._live.discard(connection)
        if self._stopping is not None and not self._live:
            self._stopping.add_done_callback(lambda _: connection.let_go())
        else:
            connection.let_go()


class _Door(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library ships no types
    """Which method a caller may call: one."""

    def __init__(self, serve: Callable[[object, Any], Awaitable[None]]) -> None:
        self._handler = grpc.stream_stream_rpc_method_handler(serve)

    def service(self, handler_call_details: Any) -> Any:
        return self._handler if handler_call_details.method == METHOD else None


def _end_with(context: Any, code: Any, details: str) -> None:
    """How the stream ends when its handler returns; `context.abort` would keep a traceback, and all that it knows."""
    context.set_code(code)
    context.set_details(details)


async def _connected(endpoint: Endpoint, wanted: Address, max_frame_bytes: int) -> GrpcConnection:
    """A connection to one of the host's addresses.

    Raises:
        ConnectFailed: nobody answers there, or not as one of ours.
    """
    _stay()
    family, where = endpoint
    target = Address("ipv6" if family == socket.AF_INET6 else "ipv4", str(where[0]), wanted.port)
    channel = grpc.aio.insecure_channel(str(target).replace("://", ":"), options=_CLIENT_OPTIONS)
    call = channel.stream_stream(METHOD)()
    try:
        local = await _answer(call, wanted)
    except BaseException:
        await channel.close()
        raise
    connection = GrpcConnection(call, local=local, peer=str(wanted), max_frame_bytes=max_frame_bytes)
    _keep(asyncio.create_task(_hold(channel, connection)))
    return connection


async def _answer(call: Any, wanted: Address) -> str:
    """Wait for the server's first word: as whom it sees us.

    Raises:
        ConnectFailed: there is none, or it is not one of ours.
    """
    stranger = "somebody answers who is no Sundog server"
    words = dict(await call.initial_metadata())
    if call.done():
        raise ConnectFailed(await call.details() or stranger, where=str(wanted))
    try:
        return str(Address.parse_as("grpc", str(words.get(_CALLER))))
    except AddressError as error:
        raise ConnectFailed(stranger, where=str(wanted)) from error


async def _hold(channel: Any, connection: GrpcConnection) -> None:
    """Keep the client's end of a stream until it is over."""
    try:
        await connection.run()
    finally:
        await channel.close()  # it cancels the stream
        connection.let_go()


def _address_of(peer: str) -> str:
    """grpc://host:port for the library's ipv4:1.2.3.4:5 and ipv6:%5B::1%5D:5."""
    return f"grpc://{unquote(peer).rpartition('ipv4:')[2].removeprefix('ipv6:').replace('::ffff:', '')}"


@cache
def _stay() -> Any:
    """A channel that never calls anybody, and keeps the library's threads and descriptors for the life of the process.

    Otherwise it would give them back, some of them later, with the last channel and server, and make them anew for the next.
    """
    return grpc.aio.insecure_channel("ipv4:127.0.0.1:1", options=_CLIENT_OPTIONS)


_kept: set[asyncio.Task[Any]] = set()
"""A loop holds its tasks by weak references only."""


def _keep(task: asyncio.Task[Any]) -> None:
    _kept.add(task)
    task.add_done_callback(_kept.discard)
