"""Frames inside one process: handed over by reference, on one event loop.

Certificates are shown and judged as on any wire, but nothing is proved or encrypted: both ends are this process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from ..kernel.errors import TransportError
from ..kernel.transport import (
    MAX_FRAME_BYTES,
    AddressError,
    ConnectFailed,
    Connection,
    ConnectionLost,
    EndOfConnection,
    Frame,
    HandshakeFailed,
    Listener,
    ListenFailed,
    Security,
    Transport,
)
from .framing import too_large
from .mailbox import Mailbox

_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, InprocListener]] = WeakKeyDictionary()
"""Who listens, per loop: names of different loops have nothing to do with each other."""
_serial = itertools.count(1)


class Inproc(Transport):
    """inproc://name; both ends on one event loop. `inproc://name:0` makes a name of its own."""

    scheme = "inproc"
    is_local = True

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        name = _name(address)
        if name.endswith(":0"):
            name = f"{name[:-1]}{next(_serial)}"
        here = _listeners.setdefault(asyncio.get_running_loop(), {})
        if name in here:
            raise ListenFailed("this name is taken", where=address)
        here[name] = listener = InprocListener(f"inproc://{name}", here, security, max_frame_bytes)
        return listener

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        listener = _listeners.get(asyncio.get_running_loop(), {}).get(_name(address))
        if listener is None:
            raise ConnectFailed("nobody on this event loop listens here", where=address)
        return listener.dial(security, max_frame_bytes)


def _name(address: str) -> str:
    name = address.removeprefix("inproc://")
    if name == address or not name or any(character.isspace() or character == "/" for character in name):
        raise AddressError(f"wanted inproc://name, got {address!r}", where=address)
    return name


@contextmanager
def _coded(peer: str) -> Iterator[None]:
    """Turn an unexpected error of a `Security` into one with a code."""
    try:
        yield
    except TransportError:
        raise
    except Exception as error:
        raise HandshakeFailed(f"the peer could not be judged: {error!r}", where=peer) from error


class InprocListener(Listener):
    """Accepts the connections that `Inproc.connect` makes."""

    def __init__(self, address: str, here: dict[str, InprocListener], security: Security | None, max_frame_bytes: int) -> None:
        self.address = address
        self.contact = address
        self._here = here
        self._security = security
        self._max_frame_bytes = max_frame_bytes
        self._arrived: Mailbox[InprocConnection] = Mailbox(address)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}: {self._arrived.state}, {len(self._arrived)} connections wait>"

    def dial(self, security: Security | None, max_frame_bytes: int) -> Connection:
        """The client's end of a new connection; the other end waits to be accepted.

        Raises:
            HandshakeFailed: one end is in clear and the other is not, or this listener rejects the client's certificate.
            TransportError: what the client's `security` raised.
        """
        caller = f"{self.address}#{next(_serial)}"
        theirs, ours = self._shake_hands(caller, security)
        limit = min(max_frame_bytes, self._max_frame_bytes)
        there, back = _Lane(caller, limit), _Lane(self.address, limit)
        self._arrived.put(InprocConnection(there, back, theirs))
        return InprocConnection(back, there, ours)

    def _shake_hands(self, caller: str, security: Security | None) -> tuple[bytes | None, bytes | None]:
        """The certificates of the client and of this listener, once each end has accepted the other's; None in clear."""
        mine = self._security
        if mine is None and security is None:
            return None, None
        if mine is None:
            raise HandshakeFailed("the listener is in clear", where=self.address)
        if security is None:
            with self._answering(mine, caller):
                raise HandshakeFailed("the client is in clear", where=caller)
        with _coded(self.address):
            theirs = security.credentials(self.address).certificate
        with self._answering(mine, caller):
            ours = mine.credentials(self.address).certificate
        try:
            with _coded(self.address):
                security.judge(ours)
        except TransportError:
            mine.handshake_failed(caller, HandshakeFailed("the client ended the handshake", where=caller))
            raise
        with self._answering(mine, caller):
            mine.judge(theirs)
        return theirs, ours

    @contextmanager
    def _answering(self, security: Security, caller: str) -> Iterator[None]:
        """The listener's part of a handshake: its reason for a failure is reported here, and not to the client."""
        try:
            with _coded(caller):
                yield
        except TransportError as error:
            security.handshake_failed(caller, error)
            raise HandshakeFailed("the listener ended the handshake", where=self.address) from None

    async def accept(self) -> Connection:
        return await self._arrived.get()

    async def close(self) -> None:
        if self._arrived.end is None:
            del self._here[self.address.removeprefix("inproc://")]
            for connection in self._arrived.finish(EndOfConnection, "the listener has closed", drop=True):
                connection.abort()


class InprocConnection(Connection):
    """One end of a pair: two lanes, one to receive from and one to send into."""

    def __init__(self, inward: _Lane, outward: _Lane, peer_certificate: bytes | None) -> None:
        self.local = outward.sender
        self.peer = inward.sender
        self.peer_certificate = peer_certificate
        self._inward = inward
        self._outward = outward
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.local} -> {self.peer}: {self._inward.frames.state}, {len(self._inward.frames)} frames wait>"

    @property
    def max_frame_bytes(self) -> int:
        """The limit in both directions."""
        return min(self._inward.max_frame_bytes, self._outward.max_frame_bytes)

    @max_frame_bytes.setter
    def max_frame_bytes(self, limit: int) -> None:
        self._inward.max_frame_bytes = self._outward.max_frame_bytes = limit

    async def send(self, *parts: Frame) -> None:
        if self._inward.frames.end is not None:
            raise self._inward.frames.error()
        frame = b"".join(parts)
        if len(frame) > self.max_frame_bytes:
            raise too_large(len(frame), self.max_frame_bytes, self.peer)
        async with self._turn:
            is_open = await self._outward.put(frame)
        # A peer that is about to close drops what it is sent, on every wire; only a known end is an error.
        if not is_open and self._inward.frames.end is not None:
            raise self._inward.frames.error()

    async def receive(self) -> Frame:
        return await self._inward.frames.get()

    async def close(self) -> None:
        self._inward.finish(EndOfConnection, "this side has closed", drop=True)
        try:
            async with asyncio.timeout(self.linger_seconds), self._turn:
                self._outward.finish(EndOfConnection, "the peer has closed")
        except TimeoutError:
            pass  # the peer does not take what is being sent
        finally:
            self._outward.finish(ConnectionLost, "the peer closed, and gave up what it was sending")

    def abort(self) -> None:
        self._inward.finish(ConnectionLost, "this side has aborted", drop=True)
        self._outward.finish(ConnectionLost, "the peer has aborted")


class _Lane:
    """One direction of a pair: what is put here lies in the receiver's mailbox at once."""

    def __init__(self, sender: str, max_frame_bytes: int) -> None:
        self.sender = sender
        self.max_frame_bytes = max_frame_bytes
        self._room = asyncio.Event()
        self.frames: Mailbox[bytes] = Mailbox(sender, on_room=self._room.set)

    async def put(self, frame: bytes) -> bool:
        """Wait for room, then put; whether the lane is still open."""
        while self.frames.is_full and self.frames.end is None:
            self._room.clear()
            await self._room.wait()
        self.frames.put(frame, len(frame))
        return self.frames.end is None

    def finish(self, kind: type[TransportError], what: str, *, drop: bool = False) -> None:
        self.frames.finish(kind, what, drop=drop)
        self._room.set()
