"""Frames over TCP, in clear."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

from ..kernel.transport import MAX_FRAME_BYTES, ConnectFailed, Connection, Listener, ListenFailed, Security, Transport
from ..kernel.wording import reason_of
from .address import Address
from .listener import BACKLOG, SocketListener
from .resolving import SockAddr, to_bind, to_dial
from .stream import StreamConnection


class Tcp(Transport):
    """tcp://host:port; a host of `*` listens on every interface, IPv6 too where there is one."""

    scheme = "tcp"

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        self.require_clear(security, address)
        wanted = Address.parse_as("tcp", address)
        try:
            sock = await _bound(wanted)
        except OSError as error:
            raise ListenFailed(reason_of(error), where=address) from error
        bound = Address("tcp", wanted.host if wanted.is_wildcard else sock.getsockname()[0], sock.getsockname()[1])

        def connection(accepted: socket.socket) -> Connection:
            return _connection(accepted, max_frame_bytes)

        return SocketListener(sock, address=str(bound), contact=str(bound.contact()), connection=connection)

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        self.require_clear(security, address)
        wanted = Address.parse_as("tcp", address)
        try:
            return _connection(await _connected(wanted), max_frame_bytes)
        except OSError as error:
            raise ConnectFailed(reason_of(error), where=address) from error


def _connection(sock: socket.socket, max_frame_bytes: int) -> StreamConnection:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    local, peer = _name(sock.getsockname()), _name(sock.getpeername())
    return StreamConnection(sock, local=local, peer=peer, max_frame_bytes=max_frame_bytes)


def _name(sockaddr: tuple[str, int]) -> str:
    host, port = sockaddr[:2]
    return str(Address("tcp", host.removeprefix("::ffff:"), port))


async def _bound(wanted: Address) -> socket.socket:
    family, where = await to_bind(wanted)
    dual = wanted.host in ("", "*") and family == socket.AF_INET6
    return socket.create_server(where, family=family, dualstack_ipv6=dual, backlog=BACKLOG)


async def _connected(wanted: Address) -> socket.socket:
    """A socket connected to the first of the host's addresses that answers."""
    failures = []
    for family, where in await to_dial(wanted):
        try:
            return await _attempt(family, where)
        except OSError as error:
            failures.append(error)
    raise failures[0]


async def _attempt(family: socket.AddressFamily, where: SockAddr) -> socket.socket:
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
        if sock.getsockname() == sock.getpeername():
            # TCP lets a port of this machine that nobody listens at call itself; whoever retries for ever gets there.
            raise OSError(errno.ECONNREFUSED, "the port called itself: nobody listens there")
        undo.pop_all()
        return sock
