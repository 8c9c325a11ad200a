"""Does a dialer stay at it: endpoints in order, back-off, refusals, terms?"""

from __future__ import annotations

import asyncio

import pytest

from sundog.kernel.messages import Message, encode
from sundog.kernel.transport import ConnectFailed, Connection
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Dialer, Hello, Identity, Link
from sundog.transports.link.carrier import ConnectionReplaced
from sundog.transports.link.hello import HelloOk, encode_hello, read_hello
from sundog.transports.link.messages import Bye
from sundog.transports.link.refusals import (
    BadHello,
    DuplicateInstance,
    NotServing,
    Refused,
    StaleTerm,
    TooManySites,
    UnknownPeer,
    WrongProject,
    WrongVersion,
)

from .sides import PROJECT, Owner, Sides, note


def nobody(sides: Sides) -> str:
    """An address where nobody listens."""
    return "inproc://nobody" if sides.wire.startswith("inproc") else "tcp://127.0.0.1:1"


async def test_waits_double_from_a_fifth_of_a_second_to_five_seconds(sides: Sides) -> None:
    dialer, _ = sides.dialer(nobody(sides))
    sides.run(dialer)

    assert [await sides.back_off() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


async def test_after_a_link_that_lasted_the_waits_are_short_again(sides: Sides) -> None:
    _, site = await sides.pair()
    owner = sides.sites[0]

    site.drop(ConnectionReplaced("at once"))
    assert await sides.back_off() == 0.2
    await owner.ups.get()
    site.drop(ConnectionReplaced("at once again: a server that drops us must not make us spin"))
    assert await sides.back_off() == 0.4
    await owner.ups.get()
    await sides.server.ups.get()
    sides.clock.advance(5)
    site.drop(ConnectionReplaced("after five seconds"))
    assert await sides.back_off() == 0.2


async def test_each_reconnection_is_told(sides: Sides) -> None:
    server, site = await sides.pair()

    for _ in range(3):
        sides.wires[-1].abort()
        await sides.server.downs.get()
        await sides.sites[0].downs.get()
        await sides.back_off()
        assert await sides.sites[0].ups.get() is site
        assert await sides.server.ups.get() is server

    assert len(sides.wires) == 4


async def test_endpoints_are_walked_in_order_and_may_mix_wires(sides: Sides) -> None:
    address = await sides.listen()
    dialer, owner = sides.dialer(nobody(sides), "inproc://nobody-either", "tcp://127.0.0.1:1", address)
    sides.run(dialer)

    assert (await owner.ups.get()).peer.name == address
    assert sides.waits.empty()


async def test_a_failure_is_logged_once(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    dialer, owner = sides.dialer(nobody(sides))
    sides.run(dialer)
    for _ in range(5):
        await sides.back_off()

    assert capsys.readouterr().out.count("SD-2006") == 1
    assert owner.refusals.empty()


async def test_a_refusal_that_will_not_heal_is_told_once_and_retried_slowly(sides: Sides) -> None:
    address = await sides.listen()
    owner = Owner()
    stranger = Identity("another project", "site", "site-1")
    dialer = Dialer(stranger, [address], handler=owner, intake=sides.intake, timers=sides.timers, connect=sides.connect)
    sides.dialers.append(dialer)
    sides.run(dialer)

    assert [await sides.back_off() for _ in range(10)][-3:] == [25.6, 30, 30]
    error = await owner.refusals.get()
    assert error.code == "SD-2103"
    assert "this server serves 'clinic', the kit is of 'another project'" in error.what
    assert owner.refusals.empty()


async def test_an_unknown_participant_is_refused_by_the_server_s_own_rule(sides: Sides) -> None:
    def admit(hello: Hello, connection: Connection) -> None:
        if hello.name not in {"site-2", "site-3"}:
            raise UnknownPeer(f"{hello.peer} is not in the project")

    acceptor = Acceptor(Identity(PROJECT, "server", "strict"), handler=sides.server, intake=sides.intake, admit=admit, timers=sides.timers)
    dialer, owner = sides.dialer(await sides.listen(acceptor))
    sides.run(dialer)

    assert str(await owner.refusals.get()).endswith("site site-1 is not in the project")


@pytest.mark.parametrize("kind", [BadHello, WrongProject, WrongVersion, UnknownPeer, DuplicateInstance, TooManySites])
async def test_a_final_refusal_ends_the_wait_of_whoever_waits_for_the_link(sides: Sides, kind: type[Refused]) -> None:
    address = await sides.listen(refusing(sides, kind))
    dialer, owner = sides.dialer(address)
    sides.run(dialer)

    refusal = await owner.refusals.get()

    assert isinstance(refusal, kind)
    assert refusal.is_lasting
    assert (refusal.what, refusal.where) == ("no", address)
    assert await sides.waits.get() == 0.2


@pytest.mark.parametrize("kind", [StaleTerm, NotServing])
async def test_a_temporary_refusal_ends_no_wait(sides: Sides, kind: type[Refused]) -> None:
    dialer, owner = sides.dialer(await sides.listen(refusing(sides, kind)))
    sides.run(dialer)

    for _ in range(3):
        await sides.back_off()

    assert owner.refusals.empty()
    assert not kind.is_lasting


def refusing(sides: Sides, kind: type[Refused]) -> Acceptor:
    """A server that refuses every HELLO for this reason."""

    def admit(hello: Hello, connection: Connection) -> None:
        raise kind("no")

    return Acceptor(Identity(PROJECT, "server", "strict"), handler=sides.server, intake=sides.intake, admit=admit, timers=sides.timers)


async def test_a_standby_and_an_old_server_send_the_site_on(sides: Sides) -> None:
    def standby(hello: Hello, connection: Connection) -> None:
        raise NotServing("this server is a standby")

    def server(name: str) -> Acceptor:
        return Acceptor(Identity(PROJECT, "server", name), handler=sides.server, intake=sides.intake, timers=sides.timers)

    cold = Acceptor(Identity(PROJECT, "server", "cold"), handler=sides.server, intake=sides.intake, admit=standby, timers=sides.timers)
    old, hot = server("old"), server("hot")
    old.term, hot.term = 6, 8
    dialer, owner = sides.dialer(await sides.listen(cold), await sides.listen(old), await sides.listen(hot))
    dialer.term_seen = 7
    sides.run(dialer)

    link = await owner.ups.get()

    assert (link.term, dialer.term_seen) == (8, 8)
    assert owner.refusals.empty()


@pytest.mark.parametrize(
    ("answer", "code"),
    [(HelloOk(1, 6, b"", "old", b"n"), "SD-2107"), (HelloOk(9, 7, b"", "new", b"n"), "SD-2104"), (None, "SD-2101")],
)
async def test_a_server_that_answers_wrongly_is_left(sides: Sides, answer: HelloOk | None, code: str) -> None:
    """The dialer judges too: an old term, a version that it does not speak, words that are no answer."""
    listener = await endpoints.listen(sides.wire)
    sides.listeners.append(listener)
    dialer, owner = sides.dialer(listener.address, await sides.listen())
    sides.acceptor.term = dialer.term_seen = 7
    sides.run(dialer)

    async with await listener.accept() as connection:
        assert read_hello(await connection.receive(), "here").term_seen == 7
        await connection.send(encode_hello(answer) if answer else b"what?")
        assert (await owner.ups.get()).term == 7

    refused = [] if owner.refusals.empty() else [owner.refusals.get_nowait().code]
    assert refused == ([] if code == "SD-2107" else [code])


async def test_a_server_that_does_not_answer_is_left_after_five_seconds(sides: Sides) -> None:
    listener = await endpoints.listen(sides.wire)
    sides.listeners.append(listener)
    dialer, owner = sides.dialer(listener.address, await sides.listen())
    sides.run(dialer)
    await sides.clock.alarm_in(5)

    sides.clock.advance(5)

    assert (await owner.ups.get()).peer.name != listener.address


async def test_run_returns_when_the_dialer_is_closed(sides: Sides) -> None:
    dialer, owner = sides.dialer(nobody(sides))
    running = asyncio.ensure_future(dialer.run())
    await sides.waits.get()

    await dialer.close()
    await dialer.close()
    await running
    await dialer.run()

    assert owner.downs.empty()


async def test_cancelling_run_ends_the_link(sides: Sides) -> None:
    dialer, owner = sides.dialer(await sides.listen())
    running = asyncio.ensure_future(dialer.run())
    await owner.ups.get()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert "[SD-2116]" in await owner.downs.get()
    assert "SD-2002" in await sides.server.downs.get()


async def test_a_goodbye_of_the_server_is_followed_by_another_attempt(sides: Sides) -> None:
    server, _ = await sides.pair()

    server.carrier.post(encode(Bye("moving")))

    assert await sides.sites[0].downs.get() == "[SD-2113] moving"
    await sides.back_off()
    await sides.sites[0].ups.get()


async def test_a_lost_answer_is_made_up_for_by_the_owner_after_the_next_hello(sides: Sides) -> None:
    """T114: the reply is dropped once; the site offers the same task again, and the server counts it once."""
    counted: set[str] = set()
    server, site = await sides.pair()

    def count(link: Link, message: Message, body: memoryview) -> None:
        counted.add(bytes(body).decode())
        link.send(note(1))

    sides.server.on_message = count
    sides.wires[0].is_lost = lambda frame: True
    site.send(note(0), b"task 7")
    await sides.server.messages.get()
    sides.wires[0].abort()
    await sides.back_off()
    await sides.sites[0].ups.get()
    site.send(note(0), b"task 7")

    assert await sides.sites[0].messages.get() == (note(1), b"")
    assert counted == {"task 7"}
    assert server.is_up


def test_a_dialer_wants_an_endpoint() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        Dialer(Identity("p", "site", "s"), [], handler=Owner(), intake=None)  # type: ignore[arg-type]


async def test_no_connection_is_a_typed_error(sides: Sides) -> None:
    with pytest.raises(ConnectFailed):
        await sides.connect(nobody(sides))
