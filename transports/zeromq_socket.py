"""How does a ZeroMQ socket live on an event loop, and what is left of the library afterwards?

The library tells of what has happened by the edge only: its descriptor becomes readable once, and any call may take
that word away. So after each send and each look the socket is asked whether more can be received.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache

import zmq

from ..kernel.transport import Frame
from .listener import BACKLOG

HIGH_WATER_MESSAGES = 512
"""More than a window and what is said about it; the library counts in halves of this, and whoever reaches it does not read."""

# Plain numbers: the library's own enumeration costs as much as the call that it is given to.
_STATE, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
_AT_ONCE, _AT_ONCE_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_MESSAGES_A_TURN = 64
_MAX_PARTS = 4
"""Further parts of a message are dropped; one too many shows that it is not ours."""
_HANDSHAKE_MS = 5_000
_HEARTBEAT_MS = 30_000
"""A frozen peer of an aborted connection would hold its descriptor for ever. The link has a heartbeat of its own."""
_MAX_SOCKETS = 16_384
_REUSED_BYTES = 16 * 1024 * 1024
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED

_serial = itertools.count(1)

Parts = Sequence[Frame]
"""The parts of a message."""


class SharedContext:
    """The library's context: made with the first user's arrival, ended with the last one's, with its threads and descriptors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._users = 0

    def acquire(self) -> zmq.Context[zmq.Socket[bytes]]:
        """One more user."""
        with self._lock:
            if self._context is None:
                _keep_memory()
                self._context = zmq.Context(io_threads=1)
                self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
            self._users += 1
            return self._context

    def release(self) -> None:
        """One user less, whose sockets are closed; the last one waits (a millisecond) until nothing is left."""
        with self._lock:
            self._users -= 1
            if not self._users and self._context is not None:
                self._context.term()
                self._context = None


@cache
def _keep_memory() -> None:
    """Let glibc keep some freed memory instead of giving it back and fetching it anew for each message: four times as quick.

    It learns how large a piece a program uses again from the largest that was freed. This one is never touched.
    """
    bytes(_REUSED_BYTES)


class LoopSocket:
    """A socket and its monitor on the running loop, both owned from now on.

    Args:
        context: whose user it is until closed.
        kind: zmq.DEALER or zmq.ROUTER.
        max_frame_bytes: the limit, checked by the library for each part of a message before memory is taken for it.
        on_message: gets each message, in its parts; a hostile peer's may be anything.
        on_event: gets what the monitor tells, and of which descriptor.

    Raises:
        zmq.ZMQError: the machine has no descriptors left.
    """

    def __init__(
        self,
        context: SharedContext,
        kind: int,
        *,
        max_frame_bytes: int,
        on_message: Callable[[list[zmq.Frame]], None],
        on_event: Callable[[int, int], None],
    ) -> None:
        self.is_closed = False
        self._on_message = on_message
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._is_due = False
        self._when_read: deque[Callable[[], None]] = deque()
        with contextlib.ExitStack() as undo:
            library = context.acquire()
            undo.callback(context.release)
            self._socket: zmq.Socket[bytes] = library.socket(kind)
            undo.callback(self._socket.close, 0)
            for option, value in _options(kind, max_frame_bytes).items():
                self._socket.set(option, value)
            self._monitor = library.socket(zmq.PAIR)
            undo.callback(self._monitor.close, 0)
            self._monitor.set(zmq.RCVHWM, 0)  # the library's own thread would wait for whoever does not listen to it
            name = f"inproc://monitor-{next(_serial)}"
            self._socket.monitor(name, _EVENTS)
            undo.callback(self._socket.disable_monitor)
            self._monitor.connect(name)
            for socket, read in ((self._socket, self._read), (self._monitor, self.read_events)):
                descriptor = int(socket.get(zmq.FD))
                self._loop.add_reader(descriptor, read)
                undo.callback(self._loop.remove_reader, descriptor)
                self._loop.call_soon(read)  # the descriptor speaks up only after somebody has looked in vain
            self._undo = undo.pop_all()

    def bind(self, endpoint: str) -> str:
        """Listen at an address of the library; what is bound, with the real port. Raises zmq.ZMQError."""
        self._allow_ipv6(endpoint)
        self._socket.bind(endpoint)
        return bytes(self._socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()

    def connect(self, endpoint: str) -> None:
        """Begin to connect; the events tell how it went. Raises zmq.ZMQError if there is nobody for sure."""
        self._allow_ipv6(endpoint)
        self._socket.connect(endpoint)

    def put(self, parts: Parts) -> bool:
        """Send a message; its parts may be reused. Whether the library took it: otherwise the peer has gone, or does not read."""
        if self.is_closed:
            return False
        try:
            for part in parts[:-1]:
                self._socket.send(part, _AT_ONCE_MORE)
            self._socket.send(parts[-1], _AT_ONCE)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            self._look_again()
        return True

    def when_read(self, callback: Callable[[], None]) -> None:
        """Call this as soon as everything that has arrived is received."""
        self._when_read.append(callback)
        self._read_soon()

    def read_events(self) -> None:
        """Tell what has happened up to now."""
        with contextlib.suppress(zmq.Again):
            while not self.is_closed:
                event, _ = self._monitor.recv_multipart(_AT_ONCE)
                self._on_event(*struct.unpack("=Hi", event))

    def close(self) -> None:
        """Let go of everything at once. Twice is fine."""
        if not self.is_closed:
            self.is_closed = True
            self._when_read.clear()
            self._undo.close()

    def _allow_ipv6(self, endpoint: str) -> None:
        """Not for IPv4 addresses: the library would write those as IPv6 ones."""
        self._socket.set(zmq.IPV6, int("[" in endpoint))

    def _read(self) -> None:
        self._is_due = False
        for _ in range(_MESSAGES_A_TURN):
            if self.is_closed:
                return
            if not self._has_more():
                break
            self._deliver()
        else:
            self._read_soon()
            return
        while self._when_read:
            self._when_read.popleft()()

    def _deliver(self) -> None:
        """A mistake with one message is logged by the loop; the next ones are read all the same."""
        try:
            self._on_message(self._receive())
        except BaseException:
            self._read_soon()
            raise

    def _receive(self) -> list[zmq.Frame]:
        part = self._socket.recv(_AT_ONCE, copy=False)
        parts = [part]
        while part.more:
            part = self._socket.recv(copy=False)
            if len(parts) < _MAX_PARTS:
                parts.append(part)
        return parts

    def _has_more(self) -> bool:
        """Whether a message can be received; if not, the descriptor will tell of the next."""
        return bool(int(self._socket.get(_STATE)) & _READABLE)

    def _look_again(self) -> None:
        if not self._is_due and self._has_more():
            self._read_soon()

    def _read_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._read)


def _options(kind: int, max_frame_bytes: int) -> dict[int, int]:
    """Every option whose default would wait, drop, grow or connect again behind our back."""
    options: dict[int, int] = {
        zmq.LINGER: 0,
        zmq.SNDHWM: HIGH_WATER_MESSAGES,
        zmq.RCVHWM: HIGH_WATER_MESSAGES,
        zmq.MAXMSGSIZE: max_frame_bytes + 1,  # and what kind of message it is
        zmq.HANDSHAKE_IVL: _HANDSHAKE_MS,
        zmq.RECONNECT_IVL: -1,
    }
    if kind == zmq.ROUTER:
        options |= {
            zmq.ROUTER_MANDATORY: 1,
            zmq.BACKLOG: BACKLOG,
            zmq.HEARTBEAT_IVL: _HEARTBEAT_MS,
            zmq.HEARTBEAT_TIMEOUT: 2 * _HEARTBEAT_MS,
        }
    return options
