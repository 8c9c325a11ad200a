"""How frames travel over a connected stream socket: TCP, unix, a socketpair.

It works on the socket itself, with the loop's add_reader and add_writer, and not through an asyncio transport: a body
is received where it will stay, and what the kernel does not take at once is not copied aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from ..kernel.errors import TransportError
from ..kernel.transport import MAX_FRAME_BYTES, Connection, ConnectionLost, EndOfConnection, Frame
from ..kernel.wording import reason_of
from .framing import GOODBYE, FrameReader, head
from .mailbox import Mailbox

_MAX_PARTS = 512
"""Parts given to one sendmsg; POSIX promises only 16, Linux and macOS take 1,024."""
_HARD_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: close() drops what is queued and resets the connection."""


class StreamConnection(Connection):
    """A connection over a stream socket, which it owns from now on. Must be made inside a running loop.

    Args:
        sock: connected; becomes non-blocking.
        local: this end's address, for errors and logs.
        peer: the other end's.
        max_frame_bytes: the limit in both directions.
    """

    def __init__(self, sock: socket.socket, *, local: str, peer: str, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        sock.setblocking(False)
        self.local = local
        self.peer = peer
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._inbox: Mailbox[Frame] = Mailbox(peer, on_room=self._resume_reading)
        self._reader = FrameReader(self._inbox.put, max_frame_bytes=max_frame_bytes)
        self._turn = asyncio.Lock()
        self._writable: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._has_said_goodbye = False
        self._resume_reading()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.local} -> {self.peer}: {self._inbox.state}, {len(self._inbox)} frames wait>"

    @property
    def max_frame_bytes(self) -> int:
        """The limit in both directions."""
        return self._reader.max_frame_bytes

    @max_frame_bytes.setter
    def max_frame_bytes(self, limit: int) -> None:
        self._reader.max_frame_bytes = limit

    async def send(self, *parts: Frame) -> None:
        if self._inbox.end is not None:
            raise self._inbox.error()
        views = [view.cast("B") for part in parts if (view := memoryview(part)).nbytes]
        first = memoryview(head(views, self.max_frame_bytes, self.peer))
        async with self._turn:
            await self._write([first, *views])

    async def receive(self) -> Frame:
        return await self._inbox.get()

    async def close(self) -> None:
        self._inbox.finish(EndOfConnection, "this side has closed", drop=True)
        try:
            async with asyncio.timeout(self.linger_seconds):
                await self._say_goodbye()
                # Closing a socket with bytes unread would reset it, and the reset may overtake what was sent:
                # read on (the frames are dropped) until the peer has seen the goodbye and closes.
                await self._gone.wait()
        except (TimeoutError, OSError, TransportError):
            pass  # the peer cannot be told
        finally:
            self._drop(hard=True)

    def abort(self) -> None:
        self._inbox.finish(ConnectionLost, "this side has aborted", drop=True)
        self._drop(hard=True)

    async def _say_goodbye(self) -> None:
        async with self._turn:
            if self._has_said_goodbye or self._gone.is_set():
                return
            self._has_said_goodbye = True
            await self._write([memoryview(GOODBYE)])
            self._socket.shutdown(socket.SHUT_WR)

    async def _write(self, parts: list[memoryview]) -> None:
        """Write all the parts. The caller holds the turn."""
        has_begun = False
        try:
            while not self._gone.is_set():
                count = self._write_some(parts)
                has_begun = has_begun or count > 0
                parts = _behind(parts, count)
                if not parts:
                    return
                await self._wait_until_writable()
        except asyncio.CancelledError:
            if has_begun:
                self.abort()  # half a frame is on the wire; no other can follow it
            raise
        raise self._inbox.error()

    def _write_some(self, parts: list[memoryview]) -> int:
        try:
            return self._socket.sendmsg(parts[:_MAX_PARTS])
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            # Nothing may follow half a frame. But the peer's goodbye may lie unread: the reader finds out how it ended.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            raise ConnectionLost(reason_of(error), where=self.peer) from error

    async def _wait_until_writable(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._socket, self._wake_writer)
        try:
            await self._writable
        finally:
            self._writable = None
            if not self._gone.is_set():
                self._loop.remove_writer(self._socket)

    def _wake_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _on_readable(self) -> None:
        try:
            count = self._socket.recv_into(self._reader.space())
            if count:
                self._reader.advance(count)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(ConnectionLost, reason_of(error))
        except TransportError as error:
            self._end(type(error), error.what)
        else:
            self._after_reading(count)

    def _after_reading(self, count: int) -> None:
        if self._reader.has_ended:
            self._end(EndOfConnection, "the peer has closed")
        elif not count:
            inside = " in the middle of a frame" if self._reader.is_inside else ""
            self._end(ConnectionLost, f"the peer vanished without a goodbye{inside}")
        elif self._inbox.is_full:
            self._loop.remove_reader(self._socket)

    def _resume_reading(self) -> None:
        if not self._gone.is_set():
            self._loop.add_reader(self._socket, self._on_readable)

    def _end(self, kind: type[TransportError], what: str) -> None:
        """The stream is over; the frames that came before wait to be received."""
        self._inbox.finish(kind, what)
        self._drop(hard=kind is not EndOfConnection)

    def _drop(self, *, hard: bool) -> None:
        """Let go of the socket, once, and wake whoever waits for it."""
        if self._gone.is_set():
            return
        self._gone.set()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if hard:
            with contextlib.suppress(OSError):  # some systems refuse it on a broken socket
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD_CLOSE)
        self._socket.close()
        self._reader.release()
        self._wake_writer()


def _behind(parts: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the parts after their first `count` bytes."""
    for index, part in enumerate(parts):
        if count < len(part):
            return [part[count:], *parts[index + 1 :]]
        count -= len(part)
    return []
