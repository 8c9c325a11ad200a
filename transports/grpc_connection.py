"""How do frames travel over one bidirectional gRPC stream, whichever end of it this is?

A frame is one gRPC message, or several when it is long: a message is buffered whole, so only a short one bounds memory.
The first byte of a message says what it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

# Read once, when the library is loaded: no lines of its own on stderr, and no handlers for fork, which we never do.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc
import grpc.aio

from ..kernel.errors import TransportError
from ..kernel.transport import Connection, ConnectionLost, EndOfConnection, Frame, MalformedFrame
from .framing import too_large
from .mailbox import Mailbox

PIECE_BYTES = 1024 * 1024
"""The most that one message carries of a frame."""
LAST, MORE, GOODBYE = b"\x00", b"\x01", b"\x02"
"""What a message begins with: the rest or the whole of a frame, a piece of one that goes on, the end of everything."""

Stream = Any
"""A grpc.aio call, or the context of one at the server; both have `read` and `write`."""

_ENDED = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What a stream raises that has ended under a read or a write."""


class GrpcConnection(Connection):
    """A connection over a stream that somebody holds open as long as `run` lasts.

    Args:
        stream: what to read and write.
        local: this end's address, for errors and logs.
        peer: the other end's.
        max_frame_bytes: the limit in both directions.
    """

    def __init__(self, stream: Stream, *, local: str, peer: str, max_frame_bytes: int) -> None:
        self.local = local
        self.peer = peer
        self.is_clean = False
        """Whether both sides agree that nothing is missing, once it is over."""
        self._stream = stream
        self.max_frame_bytes = max_frame_bytes
        self._room = asyncio.Event()
        self._inbox: Mailbox[Frame] = Mailbox(peer, on_room=self._room.set)
        self._pieces: list[memoryview] = []
        self._pieces_bytes = 0
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._gone = asyncio.Event()
        self._has_said_goodbye = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.local} -> {self.peer}: {self._inbox.state}, {len(self._inbox)} frames wait>"

    @property
    def is_over(self) -> bool:
        """Whether nothing travels any more; the stream may not have been let go yet."""
        return self._over.is_set()

    async def send(self, *parts: Frame) -> None:
        if self._inbox.end is not None:
            raise self._inbox.error()
        frame = b"".join((LAST, *parts))  # the mark and the frame in one: it is copied no second time
        if len(frame) - 1 > self.max_frame_bytes:
            raise too_large(len(frame) - 1, self.max_frame_bytes, self.peer)
        async with self._turn:
            for message in _messages(frame):
                await self._write(message)

    async def receive(self) -> Frame:
        return await self._inbox.get()

    async def close(self) -> None:
        self._inbox.finish(EndOfConnection, "this side has closed", drop=True)
        try:
            async with asyncio.timeout(self.linger_seconds):
                await self._say_goodbye()
                await self._gone.wait()  # the peer lets go of the stream when it has read the goodbye
        except (TimeoutError, TransportError):
            pass  # the peer cannot be told
        finally:
            self.end(ConnectionLost, "the peer did not take the goodbye")

    def abort(self) -> None:
        self._inbox.finish(ConnectionLost, "this side has aborted", drop=True)
        self.end(ConnectionLost, "this side has aborted")

    def end(self, kind: type[TransportError], what: str) -> None:
        """The stream is over; the frames that came before wait to be received. The first cause is kept."""
        self._inbox.finish(kind, what)
        self._over.set()
        self._room.set()
        if self._writing is not None:
            self._writing.cancel()

    async def run(self) -> None:
        """Read until the stream is over; then it is to be let go. Cancelling it is a loss."""
        reading = asyncio.create_task(self._read_on())
        try:
            await self._over.wait()
        finally:
            reading.cancel()
            self.end(ConnectionLost, "the peer vanished without a goodbye")

    def let_go(self) -> None:
        """To be called by who held the stream, once it is closed."""
        self._stream = None
        self._gone.set()

    async def _say_goodbye(self) -> None:
        async with self._turn:
            if not self._has_said_goodbye and not self._over.is_set():
                self._has_said_goodbye = True
                await self._write(GOODBYE)

    async def _write(self, message: Frame) -> None:
        """Write one message. The caller holds the turn."""
        if self._over.is_set():
            raise self._inbox.error()
        self._writing = asyncio.create_task(self._put(message))
        try:
            await self._writing
        except asyncio.CancelledError:
            if self._over.is_set() and not _is_cancelled():
                raise self._inbox.error() from None
            self.abort()  # nobody can take back what the library has
            raise
        except _ENDED as error:
            # The peer's goodbye may lie unread: the reader finds out how it ended.
            raise ConnectionLost("the stream has ended", where=self.peer) from error
        finally:
            self._writing = None

    async def _put(self, message: Frame) -> None:
        await self._stream.write(message)

    async def _read_on(self) -> None:
        try:
            while not self._over.is_set():
                self._take(await self._stream.read())
                while self._inbox.is_full and not self._over.is_set():
                    self._room.clear()
                    await self._room.wait()
        except _ENDED:
            self._lose()
        except TransportError as error:
            self.end(type(error), error.what)
        finally:
            self.end(ConnectionLost, "it is read no longer")  # whatever the library raised: nobody may wait for ever

    def _take(self, message: bytes | object) -> None:
        """Look at one message: a frame, a piece of one, or how it ends."""
        if not isinstance(message, bytes):
            self._lose()
        elif message == GOODBYE and not self._pieces:
            self.is_clean = True
            self.end(EndOfConnection, "the peer has closed")
        else:
            self._join(message[:1], memoryview(message)[1:])

    def _join(self, mark: bytes, piece: memoryview) -> None:
        self._pieces_bytes += len(piece)
        if self._pieces_bytes > self.max_frame_bytes:
            raise too_large(self._pieces_bytes, self.max_frame_bytes, self.peer)
        if mark not in (LAST, MORE) or (mark == MORE and not piece):
            raise MalformedFrame(f"a message of {len(piece)} bytes cannot begin with {mark!r} here", where=self.peer)
        self._pieces.append(piece)
        if mark == LAST:
            frame = piece if len(self._pieces) == 1 else memoryview(b"".join(self._pieces))
            self._pieces = []
            self._inbox.put(frame, self._pieces_bytes)
            self._pieces_bytes = 0

    def _lose(self) -> None:
        """The stream ended without a goodbye; after ours this is the peer's answer to it."""
        self.is_clean = self._has_said_goodbye
        inside = " in the middle of a frame" if self._pieces else ""
        self.end(ConnectionLost, f"the peer vanished without a goodbye{inside}")


def _messages(frame: bytes) -> Iterator[Frame]:
    """A marked frame as the messages it is sent in."""
    if len(frame) <= PIECE_BYTES + 1:
        yield frame
        return
    body = memoryview(frame)[1:]
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        yield b"".join((LAST if start + PIECE_BYTES >= len(body) else MORE, piece))


def _is_cancelled() -> bool:
    """Whether somebody cancels this task, rather than what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
