"""How connections are accepted from a listening stream socket: TCP, unix."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from ..kernel.transport import Connection, EndOfConnection, Listener
from .mailbox import Mailbox

BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted; it may keep fewer."""
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class SocketListener(Listener):
    """Accepts from a listening socket, which it owns from now on. Must be made inside a running loop.

    Args:
        sock: listening; becomes non-blocking.
        address: what is bound.
        contact: what a peer should dial.
        connection: makes a connection of an accepted socket.
    """

    def __init__(self, sock: socket.socket, *, address: str, contact: str, connection: Callable[[socket.socket], Connection]) -> None:
        sock.setblocking(False)
        self.address = address
        self.contact = contact
        self._socket = sock
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._arrived: Mailbox[socket.socket] = Mailbox(address, on_room=self._resume)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._resume()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}: {self._arrived.state}, {len(self._arrived)} connections wait>"

    async def accept(self) -> Connection:
        while True:
            sock = await self._arrived.get()
            try:
                return self._connection(sock)
            except OSError:
                sock.close()  # the peer has gone already

    async def close(self) -> None:
        if self._arrived.end is not None:
            return
        for sock in self._arrived.finish(EndOfConnection, "the listener has closed", drop=True):
            sock.close()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._close_spare()

    def _resume(self) -> None:
        if self._arrived.end is None:
            self._loop.add_reader(self._socket, self._on_readable)

    def _on_readable(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError as error:
            # Anything else concerns one peer that has gone already.
            if error.errno in _NO_DESCRIPTORS:
                self._turn_away()
            return
        self._arrived.put(sock)
        if self._arrived.is_full:
            self._loop.remove_reader(self._socket)

    def _turn_away(self) -> None:
        """Out of descriptors: a waiting peer would keep the loop spinning. Close it, by way of the spare one."""
        self._close_spare()
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
        with contextlib.suppress(OSError):  # another thread was quicker
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _close_spare(self) -> None:
        """Once: its number may be that of somebody else's file from now on."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)
