"""The dialer's end of a link: try the endpoints until one serves, and begin again whenever that connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import structlog

from ...kernel.errors import PluginError, SundogError, TransportError
from ...kernel.messages import MAX_LINK_FRAME_BYTES, PROTOCOL_VERSIONS
from ...kernel.transport import Connection, Credentials, Security
from ..endpoints import connect as connect_anywhere
from .backoff import Backoff
from .hello import Hello, HelloOk, Identity, LinkSecurity, Peer, encode_hello, read_answer
from .intake import Intake
from .link import Handler, Link
from .refusals import CertificateMismatch, NoAnswer, Refused, StaleTerm, WrongVersion
from .timers import Timers, deadline

_log = structlog.get_logger("sundog.link")

Connect = Callable[[str, Security | None], Awaitable[Connection]]


class DialerHandler(Handler, Protocol):
    """Who owns a dialer's link."""

    def refused(self, error: Refused) -> None:
        """Called when a server's refusal is final (`error.is_lasting`), once per address and reason. The dialer retries slowly.

        `error.where` is the server's address. A program that waits for the link may end its wait here; with several
        endpoints another server may still accept.
        """


async def _connect(address: str, security: Security | None) -> Connection:
    return await connect_anywhere(address, security=security, max_frame_bytes=MAX_LINK_FRAME_BYTES)


class _Attempt(Security):
    """The security of one attempt: it remembers what the wire presents, because HELLO must carry the same certificate."""

    def __init__(self, security: Security) -> None:
        self.presented: Credentials | None = None
        self._security = security

    def credentials(self, address: str) -> Credentials:
        if self.presented is None:
            self.presented = self._security.credentials(address)
        return self.presented

    def judge(self, certificate: bytes, *, curve_key: bytes = b"") -> None:
        self._security.judge(certificate, curve_key=curve_key)

    def handshake_failed(self, peer: str, error: TransportError) -> None:
        self._security.handshake_failed(peer, error)


class Dialer:
    """Keeps one link alive, for ever, to whichever of its endpoints serves.

    Args:
        identity: who dials; its `security` judges each server, on the wire before HELLO, and by its answer to HELLO.
        endpoints: addresses of servers, in the order of preference; they may name different transports.
        handler: told of the link, its messages and lasting refusals.
        intake: where received blobs go.
        timers: every wait.
        connect: opens a connection to an address, with a security or in clear.
    """

    def __init__(
        self,
        identity: Identity,
        endpoints: Sequence[str],
        *,
        handler: DialerHandler,
        intake: Intake,
        timers: Timers | None = None,
        connect: Connect = _connect,
    ) -> None:
        if not endpoints:
            raise ValueError("wanted at least one endpoint, got none")
        self.term_seen = 0
        """The highest term of a server so far; whoever remembers it sets it before `run`."""
        self._identity = identity
        self._endpoints = list(endpoints)
        self._handler = handler
        self._timers = timers or Timers()
        self._connect = connect
        self._backoff = Backoff(self._timers)
        self._at = 0
        self._complaints: dict[str, str] = {}
        self._walking: asyncio.Task[None] | None = None
        self._is_closed = False
        self.link = Link(Peer("server", self._endpoints[0], ""), handler, intake, timers=self._timers, is_dialer=True)

    def __repr__(self) -> str:
        return f"<Dialer {self._identity.name} at {self._endpoints[self._at]}: {self.link!r}>"

    async def run(self) -> None:
        """Connect, and connect again, until `close` is called or this is cancelled."""
        if self._is_closed:
            return
        self._walking = asyncio.create_task(self._walk())
        try:
            await asyncio.wait([self._walking])
        finally:
            self._walking.cancel()
            await asyncio.wait([self._walking])
        if not self._walking.cancelled():
            self._walking.result()

    async def close(self, reason: str = "this participant stops") -> None:
        """Say goodbye and let `run` return. Twice is fine."""
        self._is_closed = True
        await self.link.close(reason)
        if self._walking is not None:
            self._walking.cancel()

    async def _walk(self) -> None:
        while not self._is_closed:
            most = await self._attempt_each()
            if not self._is_closed:
                await self._backoff.wait(most)

    async def _attempt_each(self) -> float:
        """Try the endpoints in order, from the one that served last, until one serves; wait at most so long afterwards."""
        waits = []
        for _ in range(len(self._endpoints)):
            address = self._endpoints[self._at]
            try:
                await self._serve(address)
                return self._timers.backoff_most_seconds
            except (TransportError, PluginError, Refused, NoAnswer) as error:
                waits.append(self._complain(address, error))
            self._at = (self._at + 1) % len(self._endpoints)
        return min(waits)

    async def _serve(self, address: str) -> None:
        """Connect, say HELLO, and carry the link until its connection ends.

        Raises:
            TransportError, Refused, NoAnswer, PluginError: there was no link at all.
        """
        connection = await self._greet(address)
        self._complaints.clear()
        begun = self._timers.clock.time()
        await self.link.serve(connection)
        # A server that drops us at once must not make us spin.
        if self._timers.clock.time() - begun >= self._timers.backoff_most_seconds:
            self._backoff.reset()

    async def _greet(self, address: str) -> Connection:
        """A connection on which HELLO is through; the link knows its peer."""
        attempt = _Attempt(self._identity.security) if self._identity.security is not None else None
        try:
            async with deadline(self._timers.clock, self._timers.hello_seconds):
                connection = await self._connect(address, attempt)
                with ExitStack() as undo:
                    undo.callback(connection.abort)
                    await connection.send(encode_hello(self._hello(attempt, connection)))
                    self._judge(read_answer(await connection.receive(), address), connection, address)
                    undo.pop_all()
        except TimeoutError as error:
            raise NoAnswer(f"no answer to HELLO within {self._timers.hello_seconds:g} s", where=address) from error
        return connection

    def _hello(self, attempt: _Attempt | None, connection: Connection) -> Hello:
        """HELLO, with the certificate of this connection.

        Raises:
            CertificateMismatch: the transport ignored the security that it was given; nothing may be sent over it.
        """
        if attempt is None:
            return self._identity.hello(self.term_seen)
        if attempt.presented is None or connection.peer_certificate is None:
            raise CertificateMismatch("the transport connected without checking certificates", where=connection.peer)
        return self._identity.hello(self.term_seen, attempt.presented.certificate)

    def _judge(self, answer: HelloOk, connection: Connection, address: str) -> None:
        oldest, newest = PROTOCOL_VERSIONS
        if not oldest <= answer.proto <= newest:
            raise WrongVersion(f"the server picked version {answer.proto}, this side speaks {oldest} to {newest}", where=address)
        if answer.term < self.term_seen:
            raise StaleTerm(f"the server has term {answer.term}, term {self.term_seen} was seen", where=address)
        if self._identity.security is not None:
            _check(self._identity.security, answer, connection)
        self.term_seen = self.link.term = answer.term
        self.link.grant = answer.grant
        self.link.peer = Peer("server", address, answer.instance)

    def _complain(self, address: str, error: SundogError) -> float:
        """Log a failure once, tell a lasting one; how long the next attempt may be put off."""
        is_lasting = isinstance(error, Refused) and error.is_lasting
        if self._complaints.get(address) != error.code:
            self._complaints[address] = error.code
            _log.warning("no link", address=address, code=error.code, reason=error.what, cure=error.cure)
            if isinstance(error, Refused) and is_lasting:
                self._handler.refused(error)
        return self._timers.refused_seconds if is_lasting else self._timers.backoff_most_seconds


def _check(security: LinkSecurity, answer: HelloOk, connection: Connection) -> None:
    """Compare the server's answer with its certificate; a check that fails unexpectedly refuses."""
    try:
        security.check_answer(answer, connection)
    except Refused:
        raise
    except Exception as error:
        raise CertificateMismatch(f"the server's answer could not be checked: {error!r}", where=connection.peer) from error
