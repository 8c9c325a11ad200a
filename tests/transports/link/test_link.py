"""Does a link keep order, notice death, and keep one peer's faults from the others?"""

from __future__ import annotations

import asyncio

import pytest

from sundog.kernel.messages import MAX_LINK_FRAME_BYTES, Message, MessageError, encode
from sundog.kernel.transport import Connection, Frame, FrameTooLarge
from sundog.transports.link import Link, Timers
from sundog.transports.link.carrier import MAX_WAITING_BYTES, Carrier, ConnectionReplaced, Traffic
from sundog.transports.link.messages import Ping

from .sides import FakeClock, Sides, note


async def test_messages_arrive_in_order_with_their_bodies(sides: Sides) -> None:
    server, site = await sides.pair()

    for number in range(100):
        site.send(note(number), b"body ", str(number).encode())
    server.send(note(7))

    assert [await sides.server.messages.get() for _ in range(100)] == [(note(n), f"body {n}".encode()) for n in range(100)]
    assert repr(site) == f"<Link to {site.peer} ({site.peer.instance}): up, 0 offers, 0 out, 0 in>"


async def test_what_is_sent_while_the_link_is_down_is_dropped(sides: Sides) -> None:
    _, site = await sides.pair()
    site.drop(ConnectionReplaced("by the test"))

    site.send(note(1))
    await sides.back_off()
    await sides.sites[0].ups.get()
    site.send(note(2))

    assert await sides.server.messages.get() == (note(2), b"")


async def test_the_bytes_of_both_directions_are_counted(sides: Sides) -> None:
    server, site = await sides.pair()

    site.send(note(1), bytes(1000))
    await sides.server.messages.get()

    assert site.traffic.sent_bytes == server.traffic.received_bytes == 1000 + len(encode(note(1)))


async def test_a_frame_over_the_limit_is_refused_where_it_is_sent(sides: Sides) -> None:
    _, site = await sides.pair()

    with pytest.raises(FrameTooLarge, match="in AbortRun"):
        site.send(note(1), bytes(MAX_LINK_FRAME_BYTES))

    assert site.is_up


async def test_the_peer_hears_why_a_link_is_closed(sides: Sides) -> None:
    await sides.pair()

    await sides.dialers[0].close("going home")

    assert await sides.server.downs.get() == "[SD-2113] going home"


async def test_a_silent_link_is_asked_after_5_s_and_dropped_after_15(sides: Sides) -> None:
    """Half-open: the peer neither answers nor breaks the connection."""
    await sides.pair()
    sides.wires[0].is_frozen = True

    sides.clock.advance(14.9)
    assert sides.server.downs.empty()
    sides.clock.advance(0.1)

    assert "SD-2111" in await sides.server.downs.get()
    assert "nothing has come for 15 s" in await sides.sites[0].downs.get()


async def test_heartbeats_keep_an_idle_link_alive(sides: Sides) -> None:
    server, site = await sides.pair()

    for _ in range(10):
        before = server.traffic.received_bytes, site.traffic.received_bytes
        sides.clock.advance(5)
        assert await server.is_alive(1)
        assert await site.is_alive(1)
        assert (server.traffic.received_bytes, site.traffic.received_bytes) > before

    assert sides.server.downs.empty()


async def test_a_peer_that_does_not_answer_is_not_alive(sides: Sides) -> None:
    server, _ = await sides.pair()
    sides.wires[0].is_frozen = True

    asking = asyncio.ensure_future(server.is_alive(3))
    await sides.clock.alarm_in(3)
    sides.clock.advance(3)

    assert not await asking


async def test_a_handler_that_refuses_a_message_drops_that_peer_alone(sides: Sides) -> None:
    address = await sides.listen()
    for name in ("good", "bad"):
        dialer, owner = sides.dialer(address, name=name)
        sides.run(dialer)
        await owner.ups.get()

    def refuse_the_bad_one(link: Link, message: Message, body: memoryview) -> None:
        if link.peer.name == "bad":
            raise MessageError("the body is shorter than it says")

    sides.server.on_message = refuse_the_bad_one
    for dialer in sides.dialers:
        dialer.link.send(note(1))

    assert await sides.server.downs.get() == "[SD-1231] the body is shorter than it says"
    assert sides.dialers[0].link.is_up
    assert sides.server.downs.empty()


async def test_a_mistake_in_a_handler_drops_the_peer_and_not_the_program(sides: Sides) -> None:
    _, site = await sides.pair()

    def fail(link: Link, message: Message, body: memoryview) -> None:
        raise KeyError(message)

    sides.server.on_message = fail
    site.send(note(1))

    assert "[SD-2117] AbortRun from site site-1: KeyError" in await sides.server.downs.get()


@pytest.mark.parametrize("error", [OSError("No space left on device"), MessageError("it cannot be remembered")], ids=["any", "of ours"])
async def test_a_handler_that_cannot_use_a_new_link_drops_it_and_the_dialer_tries_again(sides: Sides, error: Exception) -> None:
    """A site whose disk is full for a moment must not be deaf for ever after."""
    dialer, owner = sides.dialer(await sides.listen())

    def fail(_: Link) -> None:
        owner.on_up = lambda _: None
        raise error

    owner.on_up = fail
    sides.run(dialer)
    async with asyncio.timeout(20):
        assert str(error) in await owner.downs.get()
        await sides.back_off()
        for _ in range(2):
            await owner.ups.get()

    assert dialer.link.is_up


@pytest.mark.parametrize("moment", ["link_up", "link_down"])
async def test_a_handler_that_fails_when_a_link_comes_or_goes_ends_that_link_alone(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A full disk at the server, say: the others' links live, the listener goes on, and the peer comes back when it is over."""
    server, site = await sides.pair()
    working = getattr(sides.server, moment)

    def fail(link: Link, *_: object) -> None:
        if link.peer.name == "unlucky":
            monkeypatch.setattr(sides.server, moment, working)
            raise OSError("No space left on device")
        raise AssertionError("the first link came or went")

    monkeypatch.setattr(sides.server, moment, fail)
    unlucky, owner = sides.dialer(sides.listeners[0].address, name="unlucky")
    sides.run(unlucky)
    if moment == "link_down":
        await owner.ups.get()
        sides.wires[-1].abort()
    await sides.back_off()
    await owner.ups.get()

    assert server.is_up
    site.send(note(1))
    assert await sides.server.messages.get() == (note(1), b"")


class Gate(Connection):
    """Takes frames only when it is open, and never receives."""

    local = peer = "gate"

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.sent: list[bytes] = []
        self.is_broken = asyncio.Event()

    async def send(self, *parts: Frame) -> None:
        await self.open.wait()
        self.sent.append(b"".join(parts))

    async def receive(self) -> Frame:
        await self.is_broken.wait()
        raise ConnectionReplaced("broken")

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.is_broken.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


def carrier_over(gate: Gate) -> Carrier:
    return Carrier(gate, Timers(clock=FakeClock()), Traffic(), on_frame=lambda frame: None, on_tick=lambda: None)


async def test_control_goes_before_bulk_and_each_keeps_its_order(gate: Gate) -> None:
    carrier = carrier_over(gate)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(carrier.run())
        carrier.post_bulk(b"bulk 1")
        carrier.post_bulk(b"bulk 2")
        carrier.post(b"control 1")
        carrier.post(b"control 2")
        gate.open.set()
        await carrier.leave(b"bye")

    assert gate.sent == [b"control 1", b"control 2", b"bye"]
    assert running.result().code == "SD-2114"


async def test_bulk_goes_when_no_control_waits(gate: Gate) -> None:
    carrier = carrier_over(gate)
    gate.open.set()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(carrier.run())
        sent = asyncio.get_running_loop().create_future()
        carrier.post_bulk(b"bulk", sent=sent)
        carrier.post(b"control")
        await sent
        carrier.drop(ConnectionReplaced("enough"))

    assert gate.sent == [b"control", b"bulk"]


async def test_a_peer_that_does_not_read_is_dropped_before_memory_is_full(gate: Gate) -> None:
    carrier = carrier_over(gate)
    piece = bytes(1024 * 1024)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(carrier.run())
        for _ in range(MAX_WAITING_BYTES // len(piece) + 1):
            carrier.post(piece)

    assert running.result().code == "SD-2112"


@pytest.mark.parametrize("kind", ["control", "bulk"])
async def test_short_frames_count_with_what_they_take(gate: Gate, kind: str) -> None:
    """A peer may ping without end and never read the answers; or ask for transfers and take each back."""
    carrier = carrier_over(gate)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(carrier.run())
        post = carrier.post if kind == "control" else carrier.post_bulk
        for _ in range(MAX_WAITING_BYTES // 256):
            post(b"pong")

    assert running.result().code == "SD-2112"


async def test_a_goodbye_that_the_peer_does_not_take_has_a_deadline(gate: Gate) -> None:
    clock = FakeClock()
    carrier = Carrier(gate, Timers(clock=clock), Traffic(), on_frame=lambda frame: None, on_tick=lambda: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(carrier.run())
        carrier.post(encode(Ping(1)))
        tasks.create_task(carrier.leave(b"bye"))
        await clock.alarm_in(5, count=2)  # the heartbeat and the goodbye
        clock.advance(5)

    assert gate.sent == []
