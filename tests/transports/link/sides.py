"""What do the link's tests stand on? A clock that is moved by hand, owners that write down what they are told, two sides."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sundog.kernel.errors import SundogError
from sundog.kernel.messages import Message
from sundog.kernel.transport import Connection, Frame, Listener, Security
from sundog.kits.protocol.messages import AbortRun, PeerMessage
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Dialer, Identity, Intake, Link, Timers, Writer

_folder = TemporaryDirectory(prefix="sundog-", dir="/tmp")  # unix socket paths must be short: others may be too long

WIRES = ["inproc://server:0", "tcp://127.0.0.1:0", "grpc://127.0.0.1:0", "zmq://127.0.0.1:0", f"zmq+ipc://{_folder.name}/*"]
"""Every transport that the link is tried on."""

PROJECT = "clinic"


@dataclass
class FakeAlarm:
    """A call that `FakeClock.advance` will make."""

    callback: Callable[[], object]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback = lambda: None  # what it would have called is not kept until time gets here, which it may never


@dataclass
class FakeClock:
    """Time stands still until a test moves it."""

    now: float = 1000.0
    alarms: list[tuple[float, int, FakeAlarm]] = field(default_factory=list)
    serial: itertools.count[int] = field(default_factory=itertools.count)
    is_set: asyncio.Event = field(default_factory=asyncio.Event)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeAlarm:
        alarm = FakeAlarm(callback)
        heapq.heappush(self.alarms, (self.now + seconds, next(self.serial), alarm))
        self.is_set.set()
        return alarm

    async def alarm_in(self, seconds: float, count: int = 1) -> None:
        """Wait until so many calls are due in so many seconds from now: then somebody has begun to wait."""
        while sum(when == self.now + seconds and not alarm.is_cancelled for when, _, alarm in self.alarms) < count:
            self.is_set.clear()
            await self.is_set.wait()

    def advance(self, seconds: float) -> None:
        """Move time on, and make the calls that are due on the way."""
        until = self.now + seconds
        while self.alarms and self.alarms[0][0] <= until:
            self.now, _, alarm = heapq.heappop(self.alarms)
            if not alarm.is_cancelled:
                alarm.callback()
        self.now = until


class Owner:
    """Writes down what its links tell it, and lets a test wait for it."""

    understands = PeerMessage

    def __init__(self) -> None:
        self.ups: asyncio.Queue[Link] = asyncio.Queue()
        self.downs: asyncio.Queue[str] = asyncio.Queue()
        self.messages: asyncio.Queue[tuple[Message, bytes]] = asyncio.Queue()
        self.refusals: asyncio.Queue[SundogError] = asyncio.Queue()
        self.on_up: Callable[[Link], None] = lambda link: None
        self.on_message: Callable[[Link, Message, memoryview], None] = lambda link, message, body: None

    def link_up(self, link: Link) -> None:
        self.ups.put_nowait(link)
        self.on_up(link)

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        self.messages.put_nowait((message, bytes(body)))
        self.on_message(link, message, body)

    def link_down(self, link: Link, reason: str) -> None:
        self.downs.put_nowait(reason)

    def refused(self, error: SundogError) -> None:
        self.refusals.put_nowait(error)


class Faulty(Connection):
    """A connection with accidents: it breaks after so many bytes, loses frames, or goes deaf and dumb."""

    def __init__(self, inner: Connection) -> None:
        self.inner = inner
        self.local, self.peer, self.peer_certificate = inner.local, inner.peer, inner.peer_certificate
        self.breaks_after_bytes: float = float("inf")
        self.is_lost: Callable[[Frame], bool] = lambda frame: False
        self.is_frozen = False

    async def send(self, *parts: Frame) -> None:
        self.breaks_after_bytes -= sum(map(len, parts))
        if self.breaks_after_bytes < 0:
            self.abort()
        if not self.is_frozen:
            await self.inner.send(*parts)

    async def receive(self) -> Frame:
        while self.is_lost(frame := await self.inner.receive()) or self.is_frozen:
            pass
        return frame

    async def close(self) -> None:
        await self.inner.close()

    def abort(self) -> None:
        self.inner.abort()


class Sides:
    """A server and any number of sites, in one process."""

    def __init__(self, wire: str, writer: Writer, tasks: asyncio.TaskGroup) -> None:
        self.wire = wire
        self.tasks = tasks
        self.clock = FakeClock()
        self.timers = Timers(clock=self.clock, jitter=self._jitter)
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        """The ceiling of each back-off, as it begins."""
        self.intake = Intake(writer, free_bytes=lambda folder: 10**12)
        self.server = Owner()
        self.acceptor = Acceptor(Identity(PROJECT, "server", "server"), handler=self.server, intake=self.intake, timers=self.timers)
        self.wires: list[Faulty] = []
        """Each connection that a site made, the newest last."""
        self.dialers: list[Dialer] = []
        self.sites: list[Owner] = []
        """The owner of each dialer."""
        self.listeners: list[Listener] = []

    async def listen(self, acceptor: Acceptor | None = None) -> str:
        """Serve one more address, which is returned."""
        listener = await endpoints.listen(self.wire)
        self.listeners.append(listener)
        self.tasks.create_task((acceptor or self.acceptor).serve(listener))
        return listener.address

    def dialer(self, *addresses: str, name: str = "site-1", instance: str = "one", role: str = "site") -> tuple[Dialer, Owner]:
        """A site that does not dial yet."""
        owner = Owner()
        identity = Identity(PROJECT, role, name, instance)
        dialer = Dialer(identity, addresses, handler=owner, intake=self.intake, timers=self.timers, connect=self.connect)
        self.dialers.append(dialer)
        self.sites.append(owner)
        return dialer, owner

    async def connect(self, address: str, security: Security | None = None) -> Connection:
        self.wires.append(Faulty(await endpoints.connect(address, security=security)))
        return self.wires[-1]

    def run(self, dialer: Dialer) -> None:
        self.tasks.create_task(dialer.run())

    async def pair(self) -> tuple[Link, Link]:
        """A server and a site with a link: the server's end and the site's."""
        dialer, owner = self.dialer(await self.listen())
        self.run(dialer)
        await owner.ups.get()
        return await self.server.ups.get(), dialer.link

    async def back_off(self) -> float:
        """Wait until a dialer backs off, and let it have waited; how long that was."""
        seconds = await self.waits.get()
        self.clock.advance(seconds)
        return seconds

    def _jitter(self, ceiling: float) -> float:
        self.waits.put_nowait(ceiling)
        return ceiling

    async def close(self) -> None:
        for listener in self.listeners:
            await listener.close()
        for dialer in self.dialers:
            await dialer.close()
        await self.acceptor.close()


@asynccontextmanager
async def two_sides(wire: str) -> AsyncIterator[Sides]:
    """Sides that are closed in the end, and leave no task and no descriptor behind."""
    await asyncio.to_thread(int)  # what the loop opens for its first thread is not ours
    await use_once(wire)
    before = open_descriptors()
    async with Writer() as writer, asyncio.TaskGroup() as tasks:
        sides = Sides(wire, writer, tasks)
        yield sides
        await sides.close()
    assert await tasks_left() == set()
    assert await above(before, open_descriptors) == 0


async def tasks_left() -> set[asyncio.Task[Any]]:
    """What still runs when everything was closed and had ten seconds: an abort does not wait for what it ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(others, timeout=10))[1] if others else others


async def above(count: int, look: Callable[[], int]) -> int:
    """How many more than so many there are when everything was closed and had ten seconds.

    gRPC closes sockets on a thread of its own, and a thread that has ended is on the system's list a moment longer; nobody is
    told of either: this is the one place where a test can only look again.
    """
    never = asyncio.get_running_loop().create_future()
    for _ in range(500):
        if look() <= count:
            break
        await asyncio.wait({never}, timeout=0.02)
    return max(0, look() - count)


async def use_once(wire: str) -> None:
    """Connect and part: what a library keeps for the life of the process (gRPC: a poller, a few descriptors) is there then."""
    async with (
        await endpoints.listen(wire) as listener,
        await endpoints.connect(listener.contact) as client,
        await listener.accept(),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(client.close())


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/dev/fd").iterdir()))


def note(number: int) -> AbortRun:
    """A message to tell apart from others."""
    return AbortRun("run", str(number))


def offered(link: Link, path: Path, data: bytes) -> str:
    """Write a file and offer it under its hash."""
    path.write_bytes(data)
    key = hashlib.sha256(data).hexdigest()
    link.transfers.offer(key, path, len(data))
    return key
