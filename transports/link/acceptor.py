"""The server's end of links: one task for each connection, HELLO first, and one link for each peer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog

from ...kernel.errors import SundogError
from ...kernel.messages import MAX_LINK_FRAME_BYTES
from ...kernel.transport import Connection, EndOfConnection, Listener
from ..address import is_loopback
from ..endpoints import transport_of
from ..mailbox import a_turn
from .carrier import ConnectionReplaced
from .complaints import Complaints
from .hello import MAX_HELLO_BYTES, Hello, HelloOk, Identity, Peer, Refusal, encode_hello, pick_version, read_hello
from .intake import Intake
from .link import Handler, Link
from .refusals import CertificateMismatch, ClearListenerRefused, DuplicateInstance, Refused, StaleTerm, WrongProject
from .timers import Timers, deadline

_log = structlog.get_logger("sundog.link")

ADMIN = "admin"
"""The one role of which many sessions may live side by side under one name."""

MAX_STRANGERS = 1024
"""Connections whose HELLO has not come yet; for one more the oldest must go."""
MAX_AWAY = 1024
"""Links that are down and may come back; for one more the one that went first is forgotten."""

Admit = Callable[[Hello, Connection], None]
"""Raises a Refused if this participant may not come in."""


def _everybody(hello: Hello, connection: Connection) -> None:
    """Admit each participant whose names hold."""


def is_private(address: str) -> bool:
    """Whether nobody on another machine can reach a listener there."""
    return transport_of(address).is_local or is_loopback(address)


class Acceptor:
    """Serves any number of listeners, and knows the link of each peer that ever came.

    Args:
        identity: who answers.
        handler: told of the links and their messages.
        intake: where received blobs go.
        admit: asked for each HELLO, once its names are known to be those of `connection.peer_certificate` (or in clear).
        timers: every wait.
    """

    def __init__(
        self, identity: Identity, *, handler: Handler, intake: Intake, admit: Admit = _everybody, timers: Timers | None = None
    ) -> None:
        self.term = 0
        """This server's term, as said in HELLO_OK."""
        self.grant = b""
        """What proves the term."""
        self.links: dict[Peer, Link] = {}
        self._newest: dict[tuple[str, str], Link] = {}
        """(role, name) → the link that was made last."""
        self._away: dict[Peer, Link] = {}
        """Those that are down, the first to go first."""
        self._identity = identity
        self._handler = handler
        self._intake = intake
        self._admit = admit
        self._timers = timers or Timers()
        self._complaints = Complaints(self._timers.clock)
        self._strangers: dict[Connection, None] = {}
        """Whose HELLO has not come yet, the oldest first."""
        self._attending: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        up = sum(link.is_up for link in self.links.values())
        return f"<Acceptor {self._identity.name} term {self.term}: {up} of {len(self.links)} links up>"

    def find(self, role: str, name: str) -> Link | None:
        """The link of a participant, up or down; of an admin with several sessions, the newest."""
        return self._newest.get((role, name))

    async def serve(self, listener: Listener) -> None:
        """Accept until the listener is closed; links that came through it live on until `close`, or until this is cancelled.

        Raises:
            ClearListenerRefused: without an identity, other machines could reach it.
        """
        if self._identity.security is None and not is_private(listener.address):
            raise ClearListenerRefused("wanted a loopback address, because there is no certificate", where=listener.address)
        _log.info("listening", address=listener.address)
        async with asyncio.TaskGroup() as tasks:
            try:
                while True:
                    connection = await listener.accept()
                    if len(self._strangers) >= MAX_STRANGERS:
                        await a_turn()  # a HELLO that is here already is read first: many may come at once
                    self._expect(connection)
                    task = tasks.create_task(self._attend(connection))
                    self._attending.add(task)
                    task.add_done_callback(self._attending.discard)
            except EndOfConnection:
                pass

    async def close(self, reason: str = "the server stops") -> None:
        """Say goodbye to everybody and end their links; close the listeners first. Twice is fine."""
        async with asyncio.TaskGroup() as tasks:
            for link in self.links.values():
                tasks.create_task(link.close(reason))
        for task in self._attending:
            task.cancel()

    def _expect(self, connection: Connection) -> None:
        """Somebody has come who has said nothing yet: little is taken of him, and there are only so many."""
        connection.max_frame_bytes = MAX_HELLO_BYTES
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        self._strangers[connection] = None

    async def _attend(self, connection: Connection) -> None:
        """One connection, from HELLO to its end; whatever its peer does stays in here."""
        try:
            async with deadline(self._timers.clock, self._timers.hello_seconds):
                said = await connection.receive()
                self._strangers.pop(connection, None)
                link, answer = await self._welcome(read_hello(said, connection.peer), connection)
        except Refused as error:
            self._complaints.log("refused", address=connection.peer, code=error.code, reason=error.what)
            await self._refuse(connection, error)
        except (SundogError, TimeoutError) as error:
            self._complaints.log("no HELLO", address=connection.peer, reason=str(error) or "nothing came in time")
        except Exception:  # noqa: BLE001  # whatever it is, it ends this connection and no other
            _log.exception("a peer could not be let in", address=connection.peer)
        else:
            connection.max_frame_bytes = MAX_LINK_FRAME_BYTES
            self._away.pop(link.peer, None)
            await link.serve(connection, encode_hello(answer))
            self._forget_later(link)
        finally:
            self._strangers.pop(connection, None)
            connection.abort()

    async def _refuse(self, connection: Connection, error: Refused) -> None:
        try:
            async with deadline(self._timers.clock, self._timers.hello_seconds):
                await connection.send(encode_hello(Refusal.of(error)))
                await connection.close()
        except (SundogError, TimeoutError):
            pass  # who does not listen need not know

    async def _welcome(self, hello: Hello, connection: Connection) -> tuple[Link, HelloOk]:
        """The link that this connection is for, and what to answer.

        Raises:
            Refused: it is for none.
        """
        version = pick_version(hello.proto)
        self._authenticate(hello, connection)
        if hello.project != self._identity.project:
            raise WrongProject(f"this server serves {self._identity.project!r}, the kit is of {hello.project[:64]!r}")
        if hello.term_seen > self.term:
            raise StaleTerm(f"this server has term {self.term}, {hello.peer} has seen {hello.term_seen}")
        self._admit(hello, connection)
        link = await self._link_of(hello.peer)
        limits = {"frame_bytes": MAX_LINK_FRAME_BYTES}
        return link, HelloOk(version, self.term, self.grant, self._identity.instance, secrets.token_bytes(16), limits)

    def _authenticate(self, hello: Hello, connection: Connection) -> None:
        """Bind HELLO to the certificate that the wire proved; without a certificate the names are taken as they are."""
        security, proved = self._identity.security, connection.peer_certificate
        if security is not None and proved is None:
            raise CertificateMismatch("this server wants a certificate, the connection is in clear")
        if security is None and proved is not None:
            raise CertificateMismatch("this server takes links in clear only, the connection has a certificate")
        if hello.cert != (proved or b""):
            raise CertificateMismatch("the certificate in HELLO is not the one of the connection")
        if security is not None:
            security.check_hello(hello, connection)

    async def _link_of(self, peer: Peer) -> Link:
        """The link of this very instance, or a new one in the place of an instance that does not answer any more."""
        known = self.links.get(peer)
        if known is not None and not known.is_closed:
            return known
        if peer.role != ADMIN:
            await self._replace_other(peer)
        link = Link(peer, self._handler, self._intake, timers=self._timers, is_dialer=False)
        self.links[peer] = self._newest[peer.role, peer.name] = link
        return link

    async def _replace_other(self, peer: Peer) -> None:
        """End the link of another instance of this participant, if it is not alive."""
        while (other := self.find(peer.role, peer.name)) is not None and other.peer != peer:
            if await other.is_alive(self._timers.duplicate_seconds):
                raise DuplicateInstance(f"another instance of {peer} is connected, and answers")
            self._remove(other)
            other.drop(ConnectionReplaced(f"{other.peer} did not answer, and a new instance came"))
            await other.close("a new instance came")

    def _forget_later(self, link: Link) -> None:
        """An admin's sessions are many and new each time: drop one that does not come back. Of all others some are kept."""
        if link.is_up or self.links.get(link.peer) is not link:
            return
        if link.peer.role == ADMIN:
            self._timers.clock.call_later(self._timers.forget_seconds, lambda: self._forget(link))
        self._away[link.peer] = link
        while len(self._away) > MAX_AWAY:
            self._forget(self._away.pop(next(iter(self._away))))

    def _forget(self, link: Link) -> None:
        if not link.is_up and self.links.get(link.peer) is link:
            self._remove(link)
            link.end(f"{link.peer} did not come back")

    def _remove(self, link: Link) -> None:
        self.links.pop(link.peer, None)
        self._away.pop(link.peer, None)
        key = (link.peer.role, link.peer.name)
        if self._newest.get(key) is link:
            del self._newest[key]
