"""How do frames go to and fro between two ends of a ZeroMQ connection, and how does it end?

The first byte of a message says what it is. A frame is data: after that byte come its bytes; a long last part lies in
a second part of the message. The library's own limits count for all peers of a socket together or drop what is over,
so each end keeps a window for the other: so many frames and bytes that are sent and not yet taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import zmq

from ..kernel.errors import TransportError
from ..kernel.transport import Connection, ConnectionLost, EndOfConnection, Frame, MalformedFrame
from .framing import too_large
from .mailbox import WINDOW_BYTES, WINDOW_ITEMS, Mailbox
from .zeromq_socket import Parts

DATA = b"D"
"""A frame."""
CREDIT = b"C"
"""How many frames have been taken, of all that were sent: eight bytes."""
GOODBYE = b"B"
"""The sender has closed; no frame follows. It waits for SEEN."""
SEEN = b"S"
"""The goodbye has arrived, with everything before it."""
GONE = b"G"
"""There is no connection, or no longer; hang up. A listener's socket cannot hang up on a single peer itself."""

_OWN_PART_BYTES = 16 * 1024
"""A last part as long as this is not copied together with those before it."""
_MAX_PARTS = 2
_COUNT_BYTES = 8
_TRUST_ITEMS = WINDOW_ITEMS // 4
_TRUST_BYTES = WINDOW_BYTES // 4
"""So much is taken before it is told; the sender goes on meanwhile, as its window is four times that."""


class Window:
    """Frames that are sent and not yet taken, as one of the ends counts them."""

    def __init__(self) -> None:
        self.taken = 0
        """Frames, of all that were sent."""
        self._sizes: deque[int] = deque()
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no other frame may be sent."""
        return self._bytes > WINDOW_BYTES or len(self._sizes) >= WINDOW_ITEMS

    def add(self, size_bytes: int) -> None:
        """One more is sent."""
        self._sizes.append(size_bytes)
        self._bytes += size_bytes

    def take(self, count: int) -> bool:
        """So many of all that were sent are taken; False if that makes no sense."""
        if not self.taken <= count <= self.taken + len(self._sizes):
            return False
        for _ in range(count - self.taken):
            self._bytes -= self._sizes.popleft()
        self.taken = count
        return True


class ZmqConnection(Connection):
    """One end; what carries it gives it the peer's messages, and is asked to put its own. Made inside a running loop.

    Args:
        put: sends a message at once; the parts may be reused.
        hang_up: ends the connection below; told once.
        local: this end's address.
        peer: the other end's.
        max_frame_bytes: the limit in both directions.
        waits_for_gone: a client lets its answer to a goodbye be heard before it hangs up.
    """

    def __init__(
        self,
        put: Callable[[Parts], None],
        hang_up: Callable[[], None],
        *,
        local: str,
        peer: str,
        max_frame_bytes: int,
        waits_for_gone: bool,
    ) -> None:
        self.local = local
        self.peer = peer
        self._put = put
        self._hang_up = hang_up
        self.max_frame_bytes = max_frame_bytes
        self._waits_for_gone = waits_for_gone
        self._inbox: Mailbox[Frame] = Mailbox(peer)
        self._outward, self._inward = Window(), Window()
        self._untold_items = self._untold_bytes = 0
        self._turn = asyncio.Lock()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._over = asyncio.Event()
        self._has_said_goodbye = self._has_hung_up = False
        self._takers = {
            DATA: self._take_data,
            CREDIT: self._take_credit,
            GOODBYE: self._take_goodbye,
            SEEN: self._take_seen,
            GONE: self._take_gone,
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.local} -> {self.peer}: {self._inbox.state}, {len(self._inbox)} frames wait>"

    async def send(self, *parts: Frame) -> None:
        if self._inbox.end is not None:
            raise self._inbox.error()
        views = [view.cast("B") for part in parts if (view := memoryview(part)).nbytes]
        size = sum(map(len, views))
        if size > self.max_frame_bytes:
            raise too_large(size, self.max_frame_bytes, self.peer)
        async with self._turn:
            await self._may_send.wait()
            if self._over.is_set():
                raise self._inbox.error()
            self._outward.add(size)
            if self._outward.is_full:
                self._may_send.clear()
            self._put(_message(views))

    async def receive(self) -> Frame:
        frame = await self._inbox.get()
        self._has_taken(1, len(frame))
        return frame

    async def close(self) -> None:
        self._discard(EndOfConnection, "this side has closed")
        try:
            async with asyncio.timeout(self.linger_seconds):
                async with self._turn:
                    self._say_goodbye()
                await self._over.wait()
        except TimeoutError:
            pass  # the peer cannot be told
        finally:
            self._drop()

    def abort(self) -> None:
        self._inbox.finish(ConnectionLost, "this side has aborted", drop=True)
        self._drop()

    def vanish(self, what: str = "the peer vanished without a goodbye") -> None:
        """Nothing more will come, and nobody can be told."""
        self._end(ConnectionLost, what)

    def take(self, parts: list[zmq.Frame]) -> None:
        """A message of the peer has come."""
        if self._has_hung_up:
            return
        try:
            taker = self._takers.get(bytes(parts[0].buffer[:1]))
            if taker is None:
                raise MalformedFrame("a message of no known kind")
            taker(parts)
        except TransportError as error:
            self._end(type(error), error.what)

    def _take_data(self, parts: list[zmq.Frame]) -> None:
        size = sum(map(len, parts)) - len(DATA)
        if size > self.max_frame_bytes:
            raise too_large(size, self.max_frame_bytes)
        if len(parts) > _MAX_PARTS or self._inward.is_full:
            raise MalformedFrame("a frame in too many parts, or more of them than the window allows")
        self._inward.add(size)
        if self._inbox.end is None:
            self._inbox.put(_frame(parts), size)
        else:
            self._has_taken(1, size)

    def _take_credit(self, parts: list[zmq.Frame]) -> None:
        word = parts[0].bytes[len(CREDIT) :]
        if len(parts) > 1 or len(word) != _COUNT_BYTES or not self._outward.take(int.from_bytes(word, "big")):
            raise MalformedFrame("a credit that makes no sense")
        if not self._outward.is_full:
            self._may_send.set()

    def _take_goodbye(self, _: object) -> None:
        self._inbox.finish(EndOfConnection, "the peer has closed")
        self._put([SEEN])
        if self._waits_for_gone:
            self._wake_all()
        else:
            self._drop()

    def _take_seen(self, _: object) -> None:
        if not self._has_said_goodbye:
            raise MalformedFrame("an answer to a goodbye that was not said")
        self._wake_all()

    def _take_gone(self, _: object) -> None:
        self._end(ConnectionLost, "the peer has aborted")

    def _say_goodbye(self) -> None:
        if not self._over.is_set() and not self._has_said_goodbye:
            self._has_said_goodbye = True
            self._put([GOODBYE])

    def _has_taken(self, items: int, size_bytes: int) -> None:
        """Tell the peer, now and then, that it may send more."""
        self._untold_items += items
        self._untold_bytes += size_bytes
        if self._untold_items >= _TRUST_ITEMS or self._untold_bytes >= _TRUST_BYTES:
            count = self._inward.taken + self._untold_items
            self._untold_items = self._untold_bytes = 0
            self._inward.take(count)
            if not self._has_hung_up:
                self._put([CREDIT + count.to_bytes(_COUNT_BYTES, "big")])

    def _discard(self, kind: type[TransportError], what: str) -> None:
        """The owner takes no more; what is still under way counts as taken, so that the peer comes to an end."""
        dropped = self._inbox.finish(kind, what, drop=True)
        self._has_taken(len(dropped), sum(map(len, dropped)))

    def _end(self, kind: type[TransportError], what: str) -> None:
        self._inbox.finish(kind, what)
        self._drop()

    def _wake_all(self) -> None:
        self._over.set()
        self._may_send.set()

    def _drop(self) -> None:
        """Hang up, once, and wake whoever waits."""
        self._wake_all()
        if not self._has_hung_up:
            self._has_hung_up = True
            self._hang_up()


def _message(views: list[memoryview]) -> list[Frame]:
    if views and len(views[-1]) >= _OWN_PART_BYTES:
        return [b"".join((DATA, *views[:-1])), views[-1]]
    return [b"".join((DATA, *views))]


def _frame(parts: list[zmq.Frame]) -> Frame:
    """The bytes of a frame in one piece. A long one is not copied if it lies in one already."""
    head = parts[0].buffer[len(DATA) :]
    if len(parts) > 1:
        return b"".join((head, parts[1].buffer)) if head else parts[1].buffer
    return head if len(head) >= _OWN_PART_BYTES else bytes(head)
