"""Can a stranger write a transport? This one is not part of Sundog: unix sockets, from public names only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path

from sundog.kernel.transport import MAX_FRAME_BYTES, AddressError, ConnectFailed, Connection, Listener, ListenFailed, Security, Transport
from sundog.transports.listener import SocketListener
from sundog.transports.stream import StreamConnection

_callers = itertools.count(1)


class Unix(Transport):
    """unix:///path/of/a/socket"""

    scheme = "unix"
    is_local = True

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        self.require_clear(security, address)
        path = path_of(address)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(str(path))
        except OSError as error:
            sock.close()
            raise ListenFailed(f"cannot bind: {error}", where=address) from error
        sock.listen(1024)  # a full queue of a unix socket looks like a connection that never answers

        def connection(accepted: socket.socket) -> Connection:
            peer = f"{address}#{next(_callers)}"
            return StreamConnection(accepted, local=address, peer=peer, max_frame_bytes=max_frame_bytes)

        return UnixListener(sock, address=address, contact=address, connection=connection)

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        self.require_clear(security, address)
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(sock, str(path_of(address)))
            except OSError as error:
                raise ConnectFailed(f"nobody there: {error}", where=address) from error
            undo.pop_all()
        return StreamConnection(sock, local=f"{address}#{next(_callers)}", peer=address, max_frame_bytes=max_frame_bytes)


class UnixListener(SocketListener):
    """Removes its socket file at the end."""

    async def close(self) -> None:
        path_of(self.address).unlink(missing_ok=True)
        await super().close()


def path_of(address: str) -> Path:
    scheme, _, path = address.partition("://")
    if scheme != "unix" or not path.startswith("/"):
        raise AddressError("wanted unix:///path", where=address)
    return Path(path)
