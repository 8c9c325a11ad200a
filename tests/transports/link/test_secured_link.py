"""Links secured by certificates: who may link with whom, and what is said before that is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sundog.kernel.errors import TransportError
from sundog.kernel.transport import CertificateRejected, Connection, ConnectionLost, Credentials, HandshakeFailed, Security
from sundog.transports import endpoints
from sundog.transports.link import Acceptor, Dialer, Hello, Identity, LinkSecurity
from sundog.transports.link.hello import HelloOk, encode_hello, read_answer, read_hello
from sundog.transports.link.refusals import CertificateMismatch, UnknownPeer, WrongProject

from .sides import PROJECT, Owner, Sides, note, two_sides


class Card(LinkSecurity):
    """A certificate is its text, `role/name/serial`; it proves itself, as certificates of an authority do."""

    def __init__(self, role: str, name: str, peer_role: str) -> None:
        self.named = f"{role}/{name}"
        self.peer_role = peer_role
        self.serial = 1
        self.judged: list[bytes] = []
        self.answers: list[tuple[HelloOk, bytes | None]] = []
        self.failures: asyncio.Queue[TransportError] = asyncio.Queue()

    @property
    def certificate(self) -> bytes:
        return f"{self.named}/{self.serial}".encode()

    def credentials(self, address: str) -> Credentials:
        return Credentials(self.certificate)

    def judge(self, certificate: bytes, *, curve_key: bytes = b"") -> None:
        self.judged.append(certificate)
        if not certificate.startswith(f"{self.peer_role}/".encode()):
            raise CertificateRejected(f"wanted a {self.peer_role}, got {certificate.decode()}")

    def handshake_failed(self, peer: str, error: TransportError) -> None:
        self.failures.put_nowait(error)

    def check_hello(self, hello: Hello, connection: Connection) -> None:
        if not hello.cert.startswith(f"{hello.role}/{hello.name}/".encode()):
            raise CertificateMismatch(f"HELLO names {hello.peer}, the certificate {hello.cert.decode()}")

    def check_answer(self, answer: HelloOk, connection: Connection) -> None:
        self.answers.append((answer, connection.peer_certificate))
        if answer.grant != connection.peer_certificate:
            raise CertificateMismatch(f"the grant is for {answer.grant.decode()}")


class Secured:
    """A server with certificates, and sites that dial it, in one process."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.server = Card("server", "server", "site")
        self.admitted: list[tuple[str, bytes | None]] = []
        self.acceptor = Acceptor(
            Identity(PROJECT, "server", "server", security=self.server),
            handler=sides.server,
            intake=sides.intake,
            admit=self.admit,
            timers=sides.timers,
        )
        self.acceptor.grant = self.server.certificate

    def admit(self, hello: Hello, connection: Connection) -> None:
        self.admitted.append((hello.name, connection.peer_certificate))
        if hello.name == "expelled":
            raise UnknownPeer("not of this project any more")

    async def listen(self) -> str:
        listener = await endpoints.listen(self.sides.wire, security=self.server)
        self.sides.listeners.append(listener)
        self.sides.tasks.create_task(self.acceptor.serve(listener))
        return listener.address

    def dialer(self, address: str, card: Card | None, name: str = "site-1") -> tuple[Dialer, Owner]:
        """A site that dials."""
        owner = Owner()
        identity = Identity(PROJECT, "site", name, "one", security=card)
        timers = self.sides.timers
        dialer = Dialer(identity, [address], handler=owner, intake=self.sides.intake, timers=timers, connect=self.sides.connect)
        self.sides.dialers.append(dialer)
        self.sides.run(dialer)
        return dialer, owner


@pytest.fixture
async def secured() -> AsyncIterator[Secured]:
    async with two_sides("inproc://secured:0") as sides:
        secured = Secured(sides)
        yield secured
        await secured.acceptor.close()


def site(name: str = "site-1") -> Card:
    return Card("site", name, "server")


async def test_a_link_knows_the_certificates_of_both_sides(secured: Secured) -> None:
    card = site()
    dialer, owner = secured.dialer(await secured.listen(), card)

    await owner.ups.get()

    assert secured.admitted == [("site-1", b"site/site-1/1")]
    assert [(answer.grant, certificate) for answer, certificate in card.answers] == [(b"server/server/1", b"server/server/1")]
    dialer.link.send(note(1))
    assert await secured.sides.server.messages.get() == (note(1), b"")


async def test_a_wrong_server_is_left_before_hello(secured: Secured) -> None:
    secured.server.named = "site/somebody-else"
    card = site()
    _, owner = secured.dialer(await secured.listen(), card)

    await secured.sides.back_off()

    assert card.judged == [b"site/somebody-else/1"]
    assert secured.sides.wires == []  # there was no connection to send HELLO over
    assert secured.admitted == []
    assert isinstance(secured.server.failures.get_nowait(), HandshakeFailed)
    secured.server.named = "server/server"
    assert (await owner.ups.get()).is_up


async def test_a_wrong_site_never_comes_to_hello(secured: Secured) -> None:
    secured.dialer(await secured.listen(), Card("admin", "site-1", "server"))

    await secured.sides.back_off()

    assert secured.sides.wires == []
    assert secured.server.failures.get_nowait().code == "SD-2071"
    assert secured.admitted == []


async def test_another_name_than_in_the_certificate_is_refused_at_hello(secured: Secured) -> None:
    _, owner = secured.dialer(await secured.listen(), site("site-1"), name="site-2")

    refusal = await owner.refusals.get()

    assert isinstance(refusal, CertificateMismatch)
    assert refusal.what == "HELLO names site site-2, the certificate site/site-1/1"
    assert secured.admitted == []


async def test_who_is_proved_may_still_not_be_admitted(secured: Secured) -> None:
    _, owner = secured.dialer(await secured.listen(), site("expelled"), name="expelled")

    assert isinstance(await owner.refusals.get(), UnknownPeer)
    assert secured.admitted == [("expelled", b"site/expelled/1")]


async def test_renewed_certificates_are_used_at_the_next_handshake(secured: Secured) -> None:
    card = site()
    dialer, owner = secured.dialer(await secured.listen(), card)
    link = await owner.ups.get()

    card.serial = secured.server.serial = 2
    secured.acceptor.grant = secured.server.certificate
    assert secured.sides.wires[0].peer_certificate == b"server/server/1"
    secured.sides.wires[0].abort()
    await owner.downs.get()
    await secured.sides.back_off()

    assert await owner.ups.get() is link is dialer.link
    assert secured.admitted == [("site-1", b"site/site-1/1"), ("site-1", b"site/site-1/2")]
    assert card.judged == [b"server/server/1", b"server/server/2"]
    assert len(secured.acceptor.links) == 1


async def test_a_certificate_renewed_between_handshake_and_hello_does_no_harm(secured: Secured) -> None:
    """HELLO carries the one that the wire presented."""
    card = site()
    judge = card.judge

    def renew(certificate: bytes, *, curve_key: bytes = b"") -> None:
        judge(certificate)
        card.serial += 1

    card.judge = renew  # type: ignore[method-assign]
    _, owner = secured.dialer(await secured.listen(), card)

    await owner.ups.get()

    assert secured.admitted == [("site-1", b"site/site-1/1")]
    assert card.serial == 2


@pytest.mark.parametrize("said", [b"site/site-1/2", b"site/site-2/1", b""])
async def test_another_certificate_in_hello_than_on_the_wire_is_refused(secured: Secured, said: bytes) -> None:
    name = said.decode().split("/")[1] if said else "site-1"
    connection = await endpoints.connect(await secured.listen(), security=site())
    await connection.send(encode_hello(Identity(PROJECT, "site", name).hello(0, said)))

    with pytest.raises(CertificateMismatch, match="the certificate in HELLO is not the one of the connection"):
        read_answer(await connection.receive(), "here")

    assert secured.admitted == []
    connection.abort()


async def test_a_certificate_in_hello_on_a_clear_connection_is_refused(secured: Secured) -> None:
    connection = await endpoints.connect(await secured.sides.listen())
    await connection.send(encode_hello(Identity(PROJECT, "site", "site-1").hello(0, b"site/site-1/1")))

    with pytest.raises(CertificateMismatch, match="not the one of the connection"):
        read_answer(await connection.receive(), "here")

    connection.abort()


async def test_a_server_with_certificates_takes_no_link_from_a_listener_in_clear(secured: Secured) -> None:
    connection = await endpoints.connect(await secured.sides.listen(secured.acceptor))
    await connection.send(encode_hello(Identity(PROJECT, "site", "site-1").hello(0)))

    with pytest.raises(CertificateMismatch, match="wants a certificate, the connection is in clear"):
        read_answer(await connection.receive(), "here")

    connection.abort()


async def test_a_server_in_clear_takes_no_link_from_a_secured_listener(secured: Secured) -> None:
    """It could not compare names with certificates."""
    listener = await endpoints.listen(secured.sides.wire, security=secured.server)
    secured.sides.listeners.append(listener)
    secured.sides.tasks.create_task(secured.sides.acceptor.serve(listener))
    _, owner = secured.dialer(listener.address, site())

    assert (await owner.refusals.get()).what == "this server takes links in clear only, the connection has a certificate"


async def test_the_project_is_judged_after_the_certificate(secured: Secured) -> None:
    """A stranger learns nothing of the server."""
    connection = await endpoints.connect(await secured.listen(), security=site())
    await connection.send(encode_hello(Identity("another", "site", "site-2").hello(0, b"site/site-1/1")))
    with pytest.raises(CertificateMismatch):
        read_answer(await connection.receive(), "here")
    connection.abort()

    connection = await endpoints.connect(secured.sides.listeners[-1].address, security=site())
    await connection.send(encode_hello(Identity("another", "site", "site-1").hello(0, b"site/site-1/1")))
    with pytest.raises(WrongProject):
        read_answer(await connection.receive(), "here")
    connection.abort()


async def test_a_server_whose_grant_is_not_its_own_is_left(secured: Secured) -> None:
    secured.acceptor.grant, secured.acceptor.term = b"server/other/1", 7
    dialer, owner = secured.dialer(await secured.listen(), site())

    refusal = await owner.refusals.get()

    assert (refusal.code, refusal.what) == ("SD-2170", "the grant is for server/other/1")
    assert (dialer.term_seen, dialer.link.grant, dialer.link.is_up) == (0, b"", False)  # nothing of the answer was believed


async def test_a_check_that_fails_refuses_and_ends_no_dialer(secured: Secured) -> None:
    card = site()
    check = card.check_answer

    def mistaken(answer: HelloOk, connection: Connection) -> None:
        raise KeyError(answer.term)

    card.check_answer = mistaken  # type: ignore[method-assign]
    _, owner = secured.dialer(await secured.listen(), card)
    refusal = await owner.refusals.get()
    assert "could not be checked: KeyError" in refusal.what

    card.check_answer = check  # type: ignore[method-assign]
    await secured.sides.back_off()

    assert (await owner.ups.get()).is_up


@pytest.mark.parametrize("asks", [False, True])
async def test_nothing_is_said_over_a_transport_that_ignores_security(secured: Secured, asks: bool) -> None:
    """A third-party wire that swallows the argument, or what it was told: the server was not checked."""

    async def connect(address: str, security: Security | None = None) -> Connection:
        if asks and security is not None:
            security.credentials(address)
        return await endpoints.connect(address)

    listener = await endpoints.listen(secured.sides.wire)
    secured.sides.listeners.append(listener)
    secured.sides.connect = connect  # type: ignore[method-assign]
    _, owner = secured.dialer(listener.address, site())

    connection = await listener.accept()

    with pytest.raises(ConnectionLost):
        await connection.receive()
    assert (await owner.refusals.get()).what == "the transport connected without checking certificates"


async def test_a_wire_that_asks_twice_in_one_attempt_presents_one_certificate(secured: Secured) -> None:
    """It may try several addresses of a host, side by side."""
    card = site()

    async def connect(address: str, security: Security | None = None) -> Connection:
        connection = await endpoints.connect(address, security=security)
        card.serial += 1
        assert security is not None
        security.credentials(address)
        return connection

    secured.sides.connect = connect  # type: ignore[method-assign]
    _, owner = secured.dialer(await secured.listen(), card)

    assert (await owner.ups.get()).is_up
    assert secured.admitted == [("site-1", b"site/site-1/1")]


async def test_a_wire_without_security_is_left_for_the_next(secured: Secured) -> None:
    owner, card = Owner(), site()
    addresses = ["tcp://127.0.0.1:1", "grpc://127.0.0.1:1", "zmq://127.0.0.1:1", await secured.listen()]
    identity = Identity(PROJECT, "site", "site-1", "one", security=card)
    dialer = Dialer(identity, addresses, handler=owner, intake=secured.sides.intake, timers=secured.sides.timers)
    secured.sides.dialers.append(dialer)
    secured.sides.run(dialer)

    assert (await owner.ups.get()).peer.name == addresses[-1]


async def test_in_clear_a_dialer_wants_no_certificate(secured: Secured) -> None:
    """And a listener with certificates turns it away: nothing falls back to clear on either side."""
    _, owner = secured.dialer(await secured.listen(), None)

    await secured.sides.back_off()

    assert secured.sides.wires == []
    assert owner.ups.empty()
    assert secured.server.failures.get_nowait().what == "the client is in clear"


async def test_hello_carries_the_certificate(secured: Secured) -> None:
    listener = await endpoints.listen(secured.sides.wire, security=secured.server)
    secured.sides.listeners.append(listener)
    secured.dialer(listener.address, site())

    async with await listener.accept() as connection:
        hello = read_hello(await connection.receive(), "here")

    assert hello.cert == connection.peer_certificate == b"site/site-1/1"
