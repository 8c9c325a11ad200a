"""The suite's view of a transport, and what its cases share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from ...kernel.errors import TransportError
from ...kernel.transport import (
    MAX_FRAME_BYTES,
    Connection,
    ConnectionLost,
    Credentials,
    EndOfConnection,
    Frame,
    FrameTooLarge,
    Listener,
    MalformedFrame,
    Security,
    Transport,
)

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Poke:
    """How to write raw bytes to a listener, past the transport; for wires that are a stream of bytes."""

    connect: Callable[[str], AbstractAsyncContextManager[Callable[[bytes], None]]]
    """A raw connection to a contact address, as long as the context lasts; it gives a function that writes."""
    announce: Callable[[int], bytes]
    """How a frame of so many bytes begins."""
    malformed: Mapping[str, bytes] = field(default_factory=dict)
    """What no frame begins with: name → bytes. The receiver gets FrameTooLarge or MalformedFrame."""


@dataclass(frozen=True)
class Wire:
    """A transport as the suite sees it."""

    transport: Transport
    address: Callable[[], str]
    """An address to listen at, with port 0 or what means "a free one"."""
    nobody: str
    """A well-formed address where nobody listens."""
    bad_addresses: tuple[str, ...]
    """Addresses of this scheme that cannot be understood."""
    buffered_bytes: int = 64 * MIB
    """No more than this is taken from a sender while its peer does not read."""
    close_seconds: float = 5.0
    """Closing ends within this, whatever the peer does."""
    poke: Poke | None = None
    credentials: Callable[[str], Credentials] | None = None
    """For a transport that supports certificates: new credentials for a name, each time another certificate.

    All of them trust each other; those of one name differ as after a renewal.
    """


class Party(Security):
    """One side's security in a case: the case sets what it presents, how it judges, and reads what it was asked.

    Args:
        presented: its credentials; the case may replace them between two handshakes.
    """

    def __init__(self, presented: Credentials) -> None:
        self.presented = presented
        self.verdict: Exception | None = None
        """What `judge` raises; None: every peer is accepted."""
        self.trouble: Exception | None = None
        """What `credentials` raises."""
        self.judged: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._failures: asyncio.Queue[TransportError] = asyncio.Queue()

    def credentials(self, address: str) -> Credentials:
        if self.trouble is not None:
            raise self.trouble
        return self.presented

    def judge(self, certificate: bytes, *, curve_key: bytes = b"") -> None:
        self.judged.append(certificate)
        if self.verdict is not None:
            raise self.verdict

    def handshake_failed(self, peer: str, error: TransportError) -> None:
        self._loop.call_soon_threadsafe(self._failures.put_nowait, error)

    async def failure(self) -> TransportError:
        """Wait for the next call of `handshake_failed`; its error."""
        return await self._failures.get()


def claim(is_so: bool, sentence: str) -> None:  # noqa: FBT001  # reads as an assertion
    """Raise AssertionError with this sentence unless it is so; a plain assert would vanish under `python -O`."""
    if not is_so:
        raise AssertionError(sentence)


@contextmanager
def raises(*kinds: type[TransportError]) -> Iterator[None]:
    """Claim that the block raises one of these."""
    wanted = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    except Exception as error:
        raise AssertionError(f"wanted {wanted}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"wanted {wanted}, nothing was raised")


async def meet(
    wire: Wire, listener: Listener, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES
) -> tuple[Connection, Connection]:
    """A new connection to the listener: the client's end and the server's."""
    async with asyncio.TaskGroup() as group:
        server = group.create_task(listener.accept())
        client = group.create_task(wire.transport.connect(listener.contact, security=security, max_frame_bytes=max_frame_bytes))
    return client.result(), server.result()


@asynccontextmanager
async def pair(wire: Wire, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> AsyncIterator[tuple[Connection, Connection]]:
    """A connection for the length of a block: the client's end and the server's."""
    async with await wire.transport.listen(wire.address(), max_frame_bytes=max_frame_bytes) as listener:
        client, server = await meet(wire, listener, max_frame_bytes=max_frame_bytes)
        try:
            yield client, server
        finally:
            client.abort()
            server.abort()


async def leave(connection: Connection, *, cleanly: bool) -> None:
    """Close, or abort."""
    if cleanly:
        await connection.close()
    else:
        connection.abort()


async def echo(sender: Connection, receiver: Connection, frame: bytes = b"still there?") -> None:
    """Claim that a frame passes."""
    async with asyncio.TaskGroup() as group:
        got = group.create_task(receiver.receive())
        group.create_task(sender.send(frame))
    claim(bytes(got.result()) == frame, f"{sender!r} does not deliver to {receiver!r}")


def numbered(number: int, size_bytes: int = 0) -> bytes:
    """A frame that can be told from the others."""
    return number.to_bytes(8, "big") + bytes(size_bytes)


def number_of(frame: Frame) -> int:
    """The number of a numbered frame."""
    return int.from_bytes(frame[:8], "big")


async def drain(connection: Connection) -> tuple[list[int], type[TransportError]]:
    """Receive numbered frames until the end: the numbers, and how it ended."""
    numbers: list[int] = []
    while True:
        try:
            numbers.append(number_of(await connection.receive()))
        except (EndOfConnection, ConnectionLost) as error:
            return numbers, type(error)


async def settle(task: asyncio.Task[object], seconds: float = 0.0) -> bool:
    """Let the loop run, up to so long; whether the task is done."""
    return bool((await asyncio.wait({task}, timeout=seconds))[0])


class Flood:
    """Sends numbered frames until it is blocked, stopped, or the connection ends."""

    def __init__(self, connection: Connection, frame_bytes: int = 256 * KIB) -> None:
        self.sent = 0
        self._is_stopped = False
        self._frame_bytes = frame_bytes
        self.task: asyncio.Task[object] = asyncio.create_task(self._run(connection))

    async def _run(self, connection: Connection) -> None:
        while not self._is_stopped:
            await connection.send(numbered(self.sent), bytes(self._frame_bytes - 8))
            self.sent += 1

    def stop(self) -> None:
        """Send no more after the frame that is being sent."""
        self._is_stopped = True

    async def until_blocked(self, wire: Wire) -> None:
        """Wait until send blocks; claim that it does before too much is buffered."""
        before = -1
        while before != self.sent:
            before = self.sent
            claim(not await settle(self.task, 0.15), "the connection ended under a slow reader")
            claim(self.sent * self._frame_bytes <= wire.buffered_bytes, f"{self.sent * self._frame_bytes:,} bytes sent to nobody")

    async def failure(self, *kinds: type[TransportError]) -> None:
        """Claim that the sender is told, by one of these."""
        with raises(*kinds):
            await self.task


async def meet_alive(wire: Wire, listener: Listener, *, security: Security | None = None) -> None:
    """Claim that a new client is served, after connections that have ended are skipped."""
    client = await wire.transport.connect(listener.contact, security=security)
    await client.send(b"alive")
    while True:
        server = await listener.accept()
        try:
            frame = await server.receive()
        except (ConnectionLost, EndOfConnection, MalformedFrame, FrameTooLarge):
            continue
        finally:
            server.abort()
        claim(bytes(frame) == b"alive", "a frame from nowhere")
        client.abort()
        return
