"""How does a link use one connection: what goes first, is the peer alive, when is it over?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ...kernel.errors import LinkError, SundogError
from ...kernel.messages import encode
from ...kernel.transport import Connection, EndOfConnection, Frame
from .messages import Ping
from .timers import Alarm, Timers, deadline

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""What may wait for a peer that does not read."""
_FRAME_COST_BYTES = 256
"""What a waiting frame takes beside its bytes: a peer may ask for any number of short ones."""


class PeerSilent(LinkError):
    """Nothing has come from the peer for too long; the connection was dropped.

    Cause: the other machine is down or asleep, or a firewall on the way forgot the connection.

    Cure: nothing to mend here: a site's link connects again by itself as soon as the way is free.
    """

    code = "SD-2111"


class PeerDoesNotRead(LinkError):
    """The peer takes nothing of what it is sent; the connection was dropped.

    Cause: the other program hangs or is stopped, though it still sends.

    Cure: look at the other side's log.txt; its link connects again by itself.
    """

    code = "SD-2112"


class PeerLeft(LinkError):
    """The peer said goodbye.

    Cause: it was stopped, or it moves to another server.

    Cure: nothing to mend; its reason is in the message.
    """

    code = "SD-2113"


class ConnectionReplaced(LinkError):
    """The connection was given up for a newer one of the same peer.

    Cause: the peer lost its connection and noticed before this side did.

    Cure: nothing to mend: the link goes on over the new connection.
    """

    code = "SD-2114"


@dataclass(slots=True)
class Traffic:
    """Bytes of whole frames, in both directions, over all connections of a link."""

    sent_bytes: int = 0
    received_bytes: int = 0


class Carrier:
    """One connection of a link, with the tasks that belong to it.

    Frames of control go before bulk; inside each class the order is that of the calls.

    Args:
        connection: owned from now on.
        timers: when to ask for a sign of life, when to give up.
        traffic: counts what goes over the connection.
        on_frame: called with each frame, which it owns; a SundogError that it raises ends the connection.
        on_tick: called at least each `heartbeat_seconds`.
    """

    def __init__(
        self, connection: Connection, timers: Timers, traffic: Traffic, *, on_frame: Callable[[Frame], None], on_tick: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._timers = timers
        self._traffic = traffic
        self._on_frame = on_frame
        self._on_tick = on_tick
        self._alarm: Alarm | None = None
        self._tasks = asyncio.TaskGroup()
        self._control: deque[tuple[Frame, ...]] = deque()
        self._waiting_bytes = 0
        self._bulk: deque[tuple[tuple[Frame, ...], asyncio.Future[None] | None]] = deque()
        self._wake = asyncio.Event()
        self._is_leaving = False
        self._broken: SundogError | None = None
        self._ended = asyncio.Event()
        self._heard = timers.clock.time()
        self._listening: set[asyncio.Event] = set()
        self._pings = 0

    def __repr__(self) -> str:
        state = "ended" if self._ended.is_set() else "leaving" if self._is_leaving else "up"
        return f"<{type(self).__name__} {self._connection!r} {state}, {len(self._control)} control and {len(self._bulk)} bulk frames wait>"

    @property
    def silent_seconds(self) -> float:
        """How long ago the last frame came."""
        return self._timers.clock.time() - self._heard

    def post(self, *parts: Frame) -> None:
        """Send a control frame as soon as the ones before it are gone."""
        if self._ended.is_set() or self._is_leaving or self._broken:
            return
        self._control.append(parts)
        self._wait(parts)

    def post_bulk(self, *parts: Frame, sent: asyncio.Future[None] | None = None) -> None:
        """Send a frame when no control frame waits; `sent` is set when the wire took it, and the parts are free again."""
        self._bulk.append((parts, sent))
        self._wait(parts)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with the connection at the latest."""
        return self._tasks.create_task(work)

    async def run(self) -> SundogError:
        """Carry frames until the connection ends; what ended it."""
        self._beat()
        try:
            async with self._tasks:
                self._tasks.create_task(self._send())
                self._tasks.create_task(self._receive())
        except* SundogError as group:
            self._broken = self._broken or _first(group)
        finally:
            self._end()
        return self._broken or EndOfConnection("the connection has ended", where=self._connection.peer)

    def drop(self, why: SundogError) -> None:
        """End the connection at once."""
        self._broken = self._broken or why
        self._connection.abort()

    async def leave(self, farewell: Frame) -> None:
        """Send what waits, then this, then close; at most `hello_seconds`."""
        self.post(farewell)
        self._is_leaving = True
        try:
            async with deadline(self._timers.clock, self._timers.hello_seconds):
                await self._ended.wait()
        except TimeoutError:
            self._connection.abort()
            await self._ended.wait()

    async def is_heard(self, seconds: float) -> bool:
        """Ask the peer for a sign of life; whether it came in time."""
        heard = asyncio.Event()
        self._listening.add(heard)
        self._ping()
        try:
            async with deadline(self._timers.clock, seconds):
                await heard.wait()
        except TimeoutError:
            return False
        finally:
            self._listening.discard(heard)
        return not self._ended.is_set()

    async def _send(self) -> None:
        while True:
            while self._control:
                await self._put(self._control.popleft())
            if self._is_leaving:
                await self._connection.close()
                return
            if self._bulk:
                parts, sent = self._bulk.popleft()
                await self._put(parts)
                if sent is not None and not sent.done():
                    sent.set_result(None)
                continue
            self._wake.clear()
            await self._wake.wait()

    def _wait(self, parts: tuple[Frame, ...]) -> None:
        """One more waits to be sent."""
        self._waiting_bytes += _cost_of(parts)
        self._wake.set()
        if self._waiting_bytes > MAX_WAITING_BYTES:
            what = f"{len(self._control) + len(self._bulk):,} frames wait for it, which take {self._waiting_bytes:,} bytes"
            self.drop(PeerDoesNotRead(what, where=self._connection.peer))

    async def _put(self, parts: tuple[Frame, ...]) -> None:
        self._waiting_bytes -= _cost_of(parts)
        await self._connection.send(*parts)
        self._traffic.sent_bytes += sum(map(len, parts))

    async def _receive(self) -> None:
        clock = self._timers.clock
        while True:
            frame = await self._connection.receive()
            self._heard = clock.time()
            self._traffic.received_bytes += len(frame)
            for heard in self._listening:
                heard.set()
            if self._broken is None:
                self._on_frame(frame)
            del frame  # its buffer may be reused while the next one is awaited

    def _beat(self) -> None:
        """Look whether the peer is alive, and look again as soon as the answer could be another one."""
        timers = self._timers
        silent = timers.clock.time() - self._heard
        if silent >= timers.dead_seconds:
            self.drop(PeerSilent(f"nothing has come for {silent:.0f} s", where=self._connection.peer))
        elif silent >= timers.heartbeat_seconds:
            self._ping()
        due = timers.heartbeat_seconds - silent if silent < timers.heartbeat_seconds else timers.heartbeat_seconds
        self._alarm = timers.clock.call_later(due, self._beat)
        self._on_tick()

    def _end(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._connection.abort()
        self._ended.set()
        for heard in self._listening:
            heard.set()

    def _ping(self) -> None:
        self._pings += 1
        self.post(encode(Ping(self._pings)))


def _cost_of(parts: tuple[Frame, ...]) -> int:
    return _FRAME_COST_BYTES + sum(map(len, parts))


def _first(group: BaseExceptionGroup[SundogError]) -> SundogError:
    """The first error in a group, however deep it lies."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if not isinstance(found, SundogError):
        raise TypeError(f"wanted an error of ours, got {found!r}")
    return found
