"""Does a server let in each peer once, and nobody whom it should not?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sundog.kernel.transport import ConnectionLost, EndOfConnection, Listener
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Identity
from sundog.transports.link.hello import encode_hello, read_answer
from sundog.transports.link.link import LinkClosed
from sundog.transports.link.refusals import BadHello, ClearListenerRefused, StaleTerm, WrongVersion

from .sides import PROJECT, Sides


async def test_the_same_instance_replaces_its_connection_at_once(sides: Sides) -> None:
    server, _ = await sides.pair()
    dialer, owner = sides.dialer(sides.listeners[0].address)
    sides.run(dialer)

    await owner.ups.get()

    assert await sides.server.ups.get() is server
    assert "SD-2114" in await sides.server.downs.get()
    assert server.is_up
    assert len(sides.acceptor.links) == 1


async def test_another_instance_is_refused_while_the_first_answers(sides: Sides) -> None:
    server, _ = await sides.pair()
    dialer, owner = sides.dialer(sides.listeners[0].address, instance="two")
    sides.run(dialer)

    error = await owner.refusals.get()

    assert error.code == "SD-2106"
    assert "another instance of site site-1 is connected, and answers" in error.what
    assert server.is_up


async def test_another_instance_takes_over_when_the_first_does_not_answer(sides: Sides) -> None:
    server, _ = await sides.pair()
    sides.wires[0].is_frozen = True
    dialer, owner = sides.dialer(sides.listeners[0].address, instance="two")
    sides.run(dialer)
    await sides.clock.alarm_in(3)
    assert owner.ups.empty()

    sides.clock.advance(3)
    await owner.ups.get()

    new = await sides.server.ups.get()
    assert new is not server
    assert server.is_closed
    assert sides.acceptor.find("site", "site-1") is new
    assert repr(sides.acceptor) == "<Acceptor server term 0: 1 of 1 links up>"


async def test_another_instance_takes_over_at_once_when_the_first_is_gone(sides: Sides) -> None:
    server, _ = await sides.pair()
    await sides.dialers[0].close()
    await sides.server.downs.get()
    dialer, owner = sides.dialer(sides.listeners[0].address, instance="two")
    sides.run(dialer)

    await owner.ups.get()

    assert server.is_closed
    assert [peer.instance for peer in sides.acceptor.links] == ["two"]


async def test_what_waits_for_an_admin_who_does_not_come_back_is_told(sides: Sides, tmp_path: Path) -> None:
    dialer, owner = sides.dialer(await sides.listen(), role="admin")
    sides.run(dialer)
    await owner.ups.get()
    (link,) = sides.acceptor.links.values()
    await dialer.close()
    await sides.server.downs.get()
    waiting = asyncio.create_task(link.transfers.fetch("0" * 64, 1, tmp_path / "job"))

    await sides.clock.alarm_in(300)
    sides.clock.advance(300)

    with pytest.raises(LinkClosed, match="was closed"):
        await waiting


async def test_two_newcomers_at_once_leave_one(sides: Sides) -> None:
    await sides.pair()
    sides.wires[0].is_frozen = True
    for instance in ("two", "three"):
        dialer, _ = sides.dialer(sides.listeners[0].address, instance=instance)
        sides.run(dialer)
    first, second = (asyncio.ensure_future(owner.ups.get()) for owner in sides.sites[1:])
    await sides.clock.alarm_in(3, count=2)

    sides.clock.advance(3)
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    refused = sides.sites[2 if first.done() else 1]

    assert (await refused.refusals.get()).code == "SD-2106"
    assert len(sides.acceptor.links) == 1
    for waiting in (first, second):
        waiting.cancel()


async def test_sessions_of_one_admin_live_side_by_side_and_are_forgotten(sides: Sides) -> None:
    address = await sides.listen()
    for instance in ("one", "two"):
        dialer, owner = sides.dialer(address, name="ada@clinic.org", role="admin", instance=instance)
        sides.run(dialer)
        await owner.ups.get()
    assert len(sides.acceptor.links) == 2

    await sides.dialers[0].close()
    await sides.server.downs.get()
    assert len(sides.acceptor.links) == 2
    await sides.clock.alarm_in(300)
    sides.clock.advance(300)

    assert [peer.instance for peer in sides.acceptor.links] == ["two"]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x80", b"\xc1" * 100])
async def test_a_stranger_is_told_and_shown_out(sides: Sides, first: bytes) -> None:
    connection = await endpoints.connect(await sides.listen())
    await connection.send(first)

    with pytest.raises(BadHello):
        read_answer(await connection.receive(), "here")
    with pytest.raises(EndOfConnection):
        await connection.receive()


async def test_a_stranger_who_says_nothing_is_dropped_after_five_seconds(sides: Sides) -> None:
    connection = await endpoints.connect(await sides.listen())
    await sides.clock.alarm_in(5)

    sides.clock.advance(5)

    with pytest.raises(ConnectionLost):
        await connection.receive()


async def test_a_silent_stranger_keeps_nobody_waiting(sides: Sides) -> None:
    address = await sides.listen()
    strangers = [await endpoints.connect(address) for _ in range(20)]
    dialer, owner = sides.dialer(address)
    sides.run(dialer)

    assert (await owner.ups.get()).is_up

    for stranger in strangers:
        stranger.abort()


async def test_versions_without_overlap_part_with_words(sides: Sides) -> None:
    connection = await endpoints.connect(await sides.listen())
    hello = Identity(PROJECT, "site", "site-1").hello(0)
    await connection.send(encode_hello(type(hello)((8, 9), *(getattr(hello, name) for name in hello.__struct_fields__[1:]))))

    with pytest.raises(WrongVersion, match="speaks versions 8 to 9, the server 1 to 1: upgrade the server"):
        read_answer(await connection.receive(), "here")


async def test_a_server_whose_term_is_over_says_so(sides: Sides) -> None:
    sides.acceptor.term = 3
    connection = await endpoints.connect(await sides.listen())
    await connection.send(encode_hello(Identity(PROJECT, "site", "site-1").hello(4)))

    with pytest.raises(StaleTerm, match="this server has term 3, site site-1 has seen 4"):
        read_answer(await connection.receive(), "here")


class Everywhere(Listener):
    """A listener that other machines could reach."""

    address = contact = "tcp://0.0.0.0:8002"

    async def accept(self) -> None:  # type: ignore[override]
        raise AssertionError("nobody may come in here")

    async def close(self) -> None:
        pass


async def test_a_clear_listener_stays_on_this_machine(sides: Sides) -> None:
    with pytest.raises(ClearListenerRefused, match=r"tcp://0\.0\.0\.0:8002: wanted a loopback address"):
        await sides.acceptor.serve(Everywhere())


async def test_closing_says_goodbye_to_everybody(sides: Sides) -> None:
    address = await sides.listen()
    for number in range(3):
        dialer, owner = sides.dialer(address, name=f"site-{number}")
        sides.run(dialer)
        await owner.ups.get()

    await sides.acceptor.close("good night")

    assert {await owner.downs.get() for owner in sides.sites} == {"[SD-2113] good night"}


async def test_one_acceptor_serves_several_listeners(sides: Sides) -> None:
    for number in range(3):
        dialer, owner = sides.dialer(await sides.listen(), name=f"site-{number}")
        sides.run(dialer)
        await owner.ups.get()

    assert {peer.name for peer in sides.acceptor.links} == {"site-0", "site-1", "site-2"}


def test_an_acceptor_shows_its_state() -> None:
    acceptor = Acceptor(Identity(PROJECT, "server", "server"), handler=None, intake=None)  # type: ignore[arg-type]

    assert repr(acceptor) == "<Acceptor server term 0: 0 of 0 links up>"
