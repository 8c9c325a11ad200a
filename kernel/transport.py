"""The transport interface: what a wire must do, and what it may raise.

A transport moves frames; it knows nothing of what is in them. Everything that must hold on every wire
(identity, heartbeat, reconnect, blob transfer) lives above, in transports/link. With a `Security` it authenticates
both ends by certificates and encrypts what passes between them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from .errors import TransportError

Frame = bytes | bytearray | memoryview
"""A frame, or a part of one."""

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The largest frame that every transport must carry."""


class EndOfConnection(TransportError):
    """The peer closed the connection; everything it had sent was received.

    Cause: a clean end: the other program closed its side.

    Cure: nothing to mend; a site's link connects again by itself.
    """

    code = "SD-2001"


class ConnectionLost(TransportError):
    """The wire broke; frames may be missing.

    Cause: the other program died, or something on the way cut the connection.

    Cure: a site's link connects again by itself; if it goes on, look at the other side's log.txt.
    """

    code = "SD-2002"


class BusyError(TransportError):
    """Two tasks receive from one connection at once.

    Cause: a mistake in the program that uses the connection: frames would be dealt out at random.

    Cure: let one task receive and hand the frames on.
    """

    code = "SD-2003"


class FrameTooLarge(TransportError):
    """A frame is larger than the connection's limit; nothing was allocated for it, the connection is aborted.

    Cause: a peer that speaks another protocol (a web browser on the port?), a damaged stream, or a job that says too much in one message.

    Cure: check that the address belongs to a Sundog server and that both sides use the same transport. For a job: send fewer
    tasks, metrics or texts at once; models have no such limit.
    """

    code = "SD-2004"


class MalformedFrame(TransportError):
    """Bytes on the wire are not a frame; the connection is aborted.

    Cause: a peer that speaks another protocol, or a damaged stream.

    Cure: check that both sides name the same transport in their endpoint.
    """

    code = "SD-2005"


class ConnectFailed(TransportError):
    """No connection could be made to an address.

    Cause: nobody listens there, a firewall drops it, or the name does not resolve.

    Cure: is the server started? Does the endpoint in the kit name its host and port?
    """

    code = "SD-2006"


class ListenFailed(TransportError):
    """An address cannot be listened on.

    Cause: another program holds the port, or the address is not one of this machine.

    Cure: stop the other program, or choose another port (0 = a free one).
    """

    code = "SD-2007"


class AddressError(TransportError):
    """An address cannot be understood, or no transport knows its scheme.

    Cause: a typing mistake, or the plugin package of the transport is not installed.

    Cure: write scheme://host:port; `sundog plugins` lists the schemes.
    """

    code = "SD-2008"


class SecurityNotSupported(TransportError):
    """A transport was asked for certificates, and can only speak in clear.

    Cause: the address names a transport without support for certificates.

    Cure: choose a transport that supports them.
    """

    code = "SD-2070"


class CertificateRejected(TransportError):
    """The peer's certificate was not accepted by this side.

    Cause: it has expired or was revoked, or it was issued for another project, role or name.

    Cure: the message says which; compare the kits of the two sides, and issue the peer's certificate again.
    """

    code = "SD-2071"


class HandshakeFailed(ConnectFailed):
    """The two sides did not agree on a connection secured by certificates.

    Cause: one side is in clear and the other is not, or the other side did not accept this side's certificate.

    Cure: look at the other side's log.txt, which has its reason; compare the kits of the two sides.
    """

    code = "SD-2072"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one end of a secured connection presents, and what it trusts.

    Equal credentials may be cached: a wire rebuilds its own objects when they differ from those of the last handshake.
    """

    certificate: bytes
    """This end's own certificate, DER: the peer's `Connection.peer_certificate`."""
    chain: bytes = b""
    """PEM: the same certificate, then the intermediate ones."""
    private_key: bytes = field(default=b"", repr=False)
    """PEM, PKCS #8, not encrypted."""
    trust_anchors: bytes = b""
    """PEM: the authorities whose certificates are accepted."""
    server_name: str = ""
    """For a dialer: the DNS name that the listener's certificate must carry. Empty: the host of the address."""
    curve_secret_key: bytes = field(default=b"", repr=False)
    """32 bytes, for ZeroMQ CURVE; its public key is part of `certificate`."""
    curve_server_key: bytes = b""
    """32 bytes, for a dialer over ZeroMQ CURVE: the listener's public key."""


class Security(ABC):
    """One participant's side of each handshake: what it presents, and which peers it accepts.

    A wire asks it anew at each handshake, so that a renewed certificate is used without a restart. Its methods are
    called on any thread, by several handshakes at once; they must be quick and must not block on I/O.
    """

    @abstractmethod
    def credentials(self, address: str) -> Credentials:
        """What to use in the next handshake at this address, which is listened at or dialed.

        Raises:
            TransportError: there are none to use now. At a dialer `connect` raises it; at a listener this handshake fails.
        """

    @abstractmethod
    def judge(self, certificate: bytes, *, curve_key: bytes = b"") -> None:
        """Accept the peer by returning; called after the peer has proved its certificate, before any frame passes.

        It decides alone: a wire's library may have checked the chain already, or not.

        Args:
            certificate: the peer's, DER.
            curve_key: ZeroMQ CURVE only: the public key that the peer proved instead; it must be that of the certificate.

        Raises:
            CertificateRejected: the peer is not accepted (a TransportError of another class, or any other exception, which
                the wire wraps in HandshakeFailed, rejects it too). At a dialer `connect` raises it; at a listener the
                connection never reaches `accept`, and the dialer gets HandshakeFailed without the reason.
        """

    @abstractmethod
    def handshake_failed(self, peer: str, error: TransportError) -> None:
        """Called at a listener, which goes on: this peer could not be connected. Log it, at a limited rate: anybody can cause it."""


class Connection(ABC):
    """Frames to and from one peer, in order, each at most once, until the connection ends.

    One task may receive while any number send. `async with` closes it.
    """

    local: str
    """This end's address."""
    peer: str
    """The other end's address."""
    peer_certificate: bytes | None = None
    """The certificate that the peer proved in the handshake, DER; None in clear."""
    linger_seconds: float = 2.0
    """How long `close` waits at most for the peer to take what was sent."""
    max_frame_bytes: int
    """The limit in both directions. It may be changed: whoever does not know the peer yet takes little of it."""

    @abstractmethod
    async def send(self, *parts: Frame) -> None:
        """Send one frame: the parts, joined. Returns when the wire took it; waits while the peer reads too slowly.

        The parts may be reused once it returns. Concurrent sends do not mix; their order is that of the calls.
        Cancelling it leaves the connection aborted if a part of the frame is already on the wire.

        Raises:
            FrameTooLarge: the frame is over the limit; nothing was sent, the connection lives on.
            EndOfConnection: this side has closed, or the peer has.
            ConnectionLost: the wire broke; whether earlier frames arrived is unknown.
        """

    @abstractmethod
    async def receive(self) -> Frame:
        """Wait for the next frame, in the order sent; the caller owns it.

        Cancelling loses nothing: the frame stays for the next call.

        Raises:
            EndOfConnection: the peer closed (or this side did); everything it sent has been received.
            ConnectionLost: the wire broke, or this side aborted; frames may be missing.
            FrameTooLarge, MalformedFrame: the peer broke the rules; the connection is aborted.
            BusyError: another task is already receiving.
        """

    @abstractmethod
    async def close(self) -> None:
        """Deliver what was sent, tell the peer, and end. Twice is fine; never raises for a broken wire.

        Waits at most `linger_seconds`, then aborts.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop everything at once, without waiting. The peer sees ConnectionLost. Twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class Listener(ABC):
    """Accepts connections at one address until closed. Connections it has accepted live on after close."""

    address: str
    """What is bound, with the real port."""
    contact: str
    """What a peer should dial: `address`, with a wildcard host replaced by this machine's name."""

    @abstractmethod
    async def accept(self) -> Connection:
        """Wait for the next connection.

        Raises:
            EndOfConnection: the listener was closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop listening. Twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class Transport(ABC):
    """One wire. Built without arguments, holds no connections, may be shared."""

    scheme: ClassVar[str]
    is_local: ClassVar[bool] = False
    """Whether frames can never leave this machine, whatever the address says."""

    @abstractmethod
    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        """Listen at `scheme://…`; port 0 picks a free one.

        Handshakes go on side by side, whether or not somebody waits in `accept`: a slow peer holds up no other.

        Args:
            address: where.
            security: asked at each handshake; a peer in clear is turned away. None: in clear.
            max_frame_bytes: the limit of each connection.

        Raises:
            AddressError: the address cannot be understood.
            ListenFailed: it cannot be bound.
            SecurityNotSupported: `security` is given, and this transport only speaks in clear.
        """

    @abstractmethod
    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        """Connect to a listener. The caller sets a deadline by cancelling.

        With `security` it returns when both sides have accepted each other.

        Args:
            address: of the listener.
            security: asked at each handshake; a listener in clear is not accepted. None: in clear.
            max_frame_bytes: the connection's limit.

        Raises:
            AddressError: the address cannot be understood.
            ConnectFailed: nobody answers there.
            HandshakeFailed: the other side is in clear and this one not, or the reverse, or it rejects this one's certificate.
                In clear, a wire without a handshake may raise ConnectionLost or MalformedFrame at the first `receive` instead.
            SecurityNotSupported: `security` is given, and this transport only speaks in clear.
            TransportError: what `security` raised, such as CertificateRejected.
        """

    def require_clear(self, security: Security | None, address: str) -> None:
        """Refuse what a transport without support for certificates cannot do; for its `listen` and `connect`.

        Raises:
            SecurityNotSupported: `security` is given.
        """
        if security is not None:
            raise SecurityNotSupported(f"the transport {self.scheme!r} does not support certificates yet", where=address)
