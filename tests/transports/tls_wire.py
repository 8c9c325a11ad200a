"""A third-party transport with certificates: TLS 1.3 over unix sockets by the standard library, from public names only.

It shows that `Security` carries TLS. Not for use: it copies each frame once more, by way of a pair of sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from tempfile import NamedTemporaryFile
from typing import TypeVar

from sundog.kernel.errors import TransportError
from sundog.kernel.transport import (
    MAX_FRAME_BYTES,
    ConnectFailed,
    Connection,
    Credentials,
    EndOfConnection,
    HandshakeFailed,
    Listener,
    Security,
)
from sundog.transports.mailbox import Mailbox
from sundog.transports.stream import StreamConnection

from .unix_wire import Unix, path_of

ACCEPTED = b"+"
HANDSHAKE_SECONDS = 5.0

T = TypeVar("T")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TlsUnix(Unix):
    """unix:///path/of/a/socket, with TLS where there is a security."""

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        if security is None:
            return await super().listen(address, max_frame_bytes=max_frame_bytes)
        return await TlsListener(address, security, max_frame_bytes).start()

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        if security is None:
            return await super().connect(address, max_frame_bytes=max_frame_bytes)
        credentials = coded(lambda: security.credentials(address), address)
        try:
            streams = await asyncio.open_unix_connection(path_of(address))
        except OSError as error:
            raise ConnectFailed(f"nobody there: {error}", where=address) from error
        try:
            certificate = await self._shake_hands(streams, security, credentials, address)
        except BaseException:
            streams[1].transport.abort()
            raise
        return bridged(streams, certificate, local=f"{address}#client", peer=address, max_frame_bytes=max_frame_bytes)

    async def _shake_hands(self, streams: Streams, security: Security, credentials: Credentials, address: str) -> bytes:
        reader, writer = streams
        try:
            await writer.start_tls(context(ssl.PROTOCOL_TLS_CLIENT, credentials), server_hostname=credentials.server_name or None)
            certificate = certificate_of(writer)
            coded(lambda: security.judge(certificate), address)
            writer.write(ACCEPTED)
            await reader.readexactly(1)
        except (OSError, EOFError) as error:
            raise HandshakeFailed(f"the listener ended the handshake: {error}", where=address) from error
        return certificate


class TlsListener(Listener):
    """One task for each handshake; who is through waits to be accepted."""

    def __init__(self, address: str, security: Security, max_frame_bytes: int) -> None:
        self.address = self.contact = address
        self._security = security
        self._max_frame_bytes = max_frame_bytes
        self._arrived: Mailbox[Connection] = Mailbox(address)

    async def start(self) -> TlsListener:
        self._server = await asyncio.start_unix_server(self._serve, path_of(self.address))
        return self

    async def accept(self) -> Connection:
        return await self._arrived.get()

    async def close(self) -> None:
        self._server.close()
        for connection in self._arrived.finish(EndOfConnection, "the listener has closed", drop=True):
            connection.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = f"{self.address}#{id(writer)}"
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                certificate = await self._shake_hands(reader, writer, peer)
        except (TransportError, OSError, EOFError) as error:
            coded_error = error if isinstance(error, TransportError) else HandshakeFailed(f"no handshake: {error}", where=peer)
            self._security.handshake_failed(peer, coded_error)
            writer.transport.abort()
            return
        limits = {"max_frame_bytes": self._max_frame_bytes}
        self._arrived.put(bridged((reader, writer), certificate, local=self.address, peer=peer, **limits))

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> bytes:
        credentials = coded(lambda: self._security.credentials(self.address), peer)
        await writer.start_tls(context(ssl.PROTOCOL_TLS_SERVER, credentials))
        certificate = certificate_of(writer)
        await reader.readexactly(1)
        coded(lambda: self._security.judge(certificate), peer)
        writer.write(ACCEPTED)
        return certificate


def coded(ask: Callable[[], T], where: str) -> T:
    """What a `Security` says; an unexpected error of it has a code, too."""
    try:
        return ask()
    except TransportError:
        raise
    except Exception as error:
        raise HandshakeFailed(f"the peer could not be judged: {error!r}", where=where) from error


def context(side: int, credentials: Credentials) -> ssl.SSLContext:
    """Made anew for each handshake. The library reads the private key from a file only."""
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = bool(credentials.server_name) and side == ssl.PROTOCOL_TLS_CLIENT
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=credentials.trust_anchors.decode())
    with NamedTemporaryFile() as file:
        file.write(credentials.private_key + credentials.chain)
        file.flush()
        made.load_cert_chain(file.name)
    return made


def certificate_of(writer: asyncio.StreamWriter) -> bytes:
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate


def bridged(streams: Streams, certificate: bytes, *, local: str, peer: str, max_frame_bytes: int) -> Connection:
    """A connection whose bytes two tasks carry to and from the TLS stream."""
    near, far = socket.socketpair()
    connection = StreamConnection(near, local=local, peer=peer, max_frame_bytes=max_frame_bytes)
    connection.peer_certificate = certificate
    task = asyncio.create_task(carry(streams, far))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return connection


tasks: set[asyncio.Task[None]] = set()


async def carry(streams: Streams, far: socket.socket) -> None:
    """Both ways, until one side ends."""
    inner = await asyncio.open_connection(sock=far)
    try:
        with contextlib.suppress(OSError):
            both = [asyncio.create_task(copy(streams[0], inner[1])), asyncio.create_task(copy(inner[0], streams[1]))]
            await asyncio.wait(both, return_when=asyncio.ALL_COMPLETED)
    finally:
        for writer in (inner[1], streams[1]):
            writer.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way; the end of one is the end of the other, behind what came before."""
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()
