"""What can somebody take from a server who has not said who he is, or says another name each time?"""

from __future__ import annotations

from collections import Counter

import pytest

from sundog.kernel.transport import Connection, ConnectionLost, FrameTooLarge
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Hello, Identity, Link, acceptor
from sundog.transports.link.complaints import LINES, PERIOD_SECONDS, Complaints
from sundog.transports.link.hello import MAX_HELLO_BYTES, encode_hello, read_answer

from .sides import PROJECT, FakeClock, Sides, note, two_sides


async def test_for_one_stranger_too_many_the_oldest_goes(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "MAX_STRANGERS", 3)
    server, site = await sides.pair()
    strangers = [await endpoints.connect(sides.listeners[0].address) for _ in range(5)]

    for gone in strangers[:2]:
        with pytest.raises(ConnectionLost):
            await gone.receive()

    await strangers[2].send(encode_hello(Identity(PROJECT, "site", "site-2").hello(0)))
    read_answer(await strangers[2].receive(), "here")
    site.send(note(1))
    assert await sides.server.messages.get() == (note(1), b"")
    assert server.is_up
    for stranger in strangers:
        stranger.abort()


async def test_of_many_who_come_at_once_none_who_says_hello_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener hands over all of them before the first HELLO is read."""
    monkeypatch.setattr(acceptor, "MAX_STRANGERS", 3)
    async with two_sides("inproc://server:0") as sides:
        connections = await said_hello(await sides.listen(), 20)

        for connection in connections:
            read_answer(await connection.receive(), "here")

        assert len(sides.acceptor.links) == 20
        for connection in connections:
            connection.abort()


async def test_the_cost_of_a_lost_link_does_not_grow_with_the_number_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Counter[str]()

    def is_up(link: Link) -> bool:
        looks["is_up"] += 1
        return link._carrier is not None

    monkeypatch.setattr(Link, "is_up", property(is_up))
    monkeypatch.setattr(acceptor, "MAX_AWAY", 100)
    async with two_sides("inproc://server:0") as sides:
        for connection in await said_hello(await sides.listen(), 200):
            read_answer(await connection.receive(), "here")
            connection.abort()
        for _ in range(200):
            await sides.server.downs.get()

        assert len(sides.acceptor.links) == 100
        assert looks["is_up"] < 200 * 10


async def said_hello(address: str, count: int) -> list[Connection]:
    """Connections of so many sites; HELLO is on its way on each."""
    connections = [await endpoints.connect(address) for _ in range(count)]
    for number, connection in enumerate(connections):
        await connection.send(encode_hello(Identity(PROJECT, "site", f"site-{number}").hello(0)))
    return connections


async def test_no_more_than_a_hello_is_taken_from_a_stranger(sides: Sides) -> None:
    """R30: hundreds of strangers with a frame of megabytes each would fill the memory before anybody looks at one."""
    connection = await endpoints.connect(await sides.listen())
    await sides.clock.alarm_in(5)  # somebody waits for his HELLO

    async def say_much() -> None:
        await connection.send(bytes(MAX_HELLO_BYTES + 1))
        await connection.receive()

    with pytest.raises((FrameTooLarge, ConnectionLost)):
        await say_much()

    connection.abort()


async def test_who_has_said_hello_may_say_more(sides: Sides) -> None:
    _, site = await sides.pair()

    site.send(note(1), bytes(MAX_HELLO_BYTES + 1))

    assert await sides.server.messages.get() == (note(1), bytes(MAX_HELLO_BYTES + 1))


async def test_of_names_that_came_and_went_only_so_many_are_remembered(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clear listener anybody may say another name each time. The one that is away the longest is forgotten."""
    monkeypatch.setattr(acceptor, "MAX_AWAY", 2)
    server, _ = await sides.pair()
    connections: list[Connection] = []
    for name in ("a", "b", "c"):
        connections.append(await endpoints.connect(sides.listeners[0].address))
        await connections[-1].send(encode_hello(Identity(PROJECT, "site", name).hello(0)))
        read_answer(await connections[-1].receive(), "here")

    for connection in (connections[1], connections[0], connections[2]):
        connection.abort()
        await sides.server.downs.get()

    assert [peer.name for peer in sides.acceptor.links] == ["site-1", "a", "c"]
    assert sides.acceptor.find("site", "b") is None
    assert server.is_up


async def test_a_rule_that_fails_refuses_one_and_harms_no_other(sides: Sides) -> None:
    def admit(hello: Hello, connection: Connection) -> None:
        if hello.name == "odd":
            raise KeyError(hello.name)

    strict = Acceptor(Identity(PROJECT, "server", "server"), handler=sides.server, intake=sides.intake, admit=admit, timers=sides.timers)
    address = await sides.listen(strict)
    odd = await endpoints.connect(address)
    await odd.send(encode_hello(Identity(PROJECT, "site", "odd").hello(0)))
    with pytest.raises(ConnectionLost):
        await odd.receive()

    dialer, owner = sides.dialer(address)
    sides.run(dialer)
    assert (await owner.ups.get()).is_up
    await strict.close()


def test_strangers_cannot_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """R35: some lines in a while, and how many more there were."""
    clock = FakeClock()
    complaints = Complaints(clock)
    for number in range(LINES + 10):
        complaints.log("no HELLO", address=f"tcp://127.0.0.1:{number}", reason="nothing came in time")
    assert capsys.readouterr().out.count("no HELLO") == LINES

    clock.advance(PERIOD_SECONDS)
    complaints.log("refused", address="tcp://127.0.0.1:1")
    complaints.log("refused", address="tcp://127.0.0.1:2")

    first, second = capsys.readouterr().out.splitlines()
    assert "untold=10" in first
    assert "untold" not in second
