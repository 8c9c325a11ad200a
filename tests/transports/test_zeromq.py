"""What is special about ZeroMQ: its addresses, one socket for all peers, strangers who speak it and who do not, what is left of it?"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import zmq

from sundog.kernel.transport import (
    MAX_FRAME_BYTES,
    AddressError,
    ConnectFailed,
    Connection,
    ConnectionLost,
    EndOfConnection,
    FrameTooLarge,
    Listener,
    ListenFailed,
    MalformedFrame,
)
from sundog.transports.address import Address
from sundog.transports.mailbox import WINDOW_ITEMS
from sundog.transports.zeromq import ZeroMq, ZeroMqIpc
from sundog.transports.zeromq_connection import CREDIT, DATA, GONE, GOODBYE, SEEN
from sundog.transports.zeromq_listener import HELLO, OPENED, READY, WORD_BYTES, ZmqListener

from .ipv6 import needs_ipv6
from .link.sides import above
from .test_hostile_frames import mutated
from .zeromq_stranger import Message, stranger_at

LOOPBACK = "zmq://127.0.0.1:0"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Unix socket paths must be short: pytest's tmp_path may be too long."""
    with TemporaryDirectory(prefix="sundog-", dir="/tmp") as folder:
        yield Path(folder)


async def exchange(client: Connection, server: Connection) -> None:
    await client.send(b"ping")
    assert await server.receive() == b"ping"


@asynccontextmanager
async def three(max_frame_bytes: int = MAX_FRAME_BYTES) -> AsyncIterator[tuple[ZmqListener, Connection, Connection]]:
    """A listener, and a connection to it that must not be disturbed."""
    async with await ZeroMq().listen(LOOPBACK, max_frame_bytes=max_frame_bytes) as listener:
        client = await ZeroMq().connect(listener.contact, max_frame_bytes=max_frame_bytes)
        server = await listener.accept()
        assert isinstance(listener, ZmqListener)
        try:
            yield listener, client, server
            await exchange(client, server)
            await exchange(server, client)
        finally:
            for end in (client, server):
                end.abort()


async def nothing_accepted(listener: Listener) -> None:
    """Nobody waits to be accepted, nor does anybody within a few turns of the loop."""
    accepting = asyncio.ensure_future(listener.accept())
    done, _ = await asyncio.wait({accepting}, timeout=0.05)
    assert not done
    accepting.cancel()


@pytest.mark.parametrize("wildcard", ["*", "0.0.0.0", ""])
async def test_a_wildcard_is_reached_by_a_number_and_called_by_name(wildcard: str) -> None:
    async with await ZeroMq().listen(f"zmq://{wildcard}:0") as listener:
        port = Address.parse(listener.address).port

        assert listener.address == f"zmq://{wildcard}:{port}"
        assert listener.contact == f"zmq://{socket.gethostname()}:{port}"
        client = await ZeroMq().connect(f"zmq://127.0.0.1:{port}")
        server = await listener.accept()
        await exchange(client, server)
        assert client.peer == f"zmq://127.0.0.1:{port}"
        assert server.peer == client.local
        assert Address.parse(client.local).host == "127.0.0.1"
        await client.close()


async def test_a_name_is_resolved() -> None:
    async with await ZeroMq().listen("zmq://localhost:0") as listener:
        port = Address.parse(listener.address).port
        assert listener.address == f"zmq://127.0.0.1:{port}"
        client = await ZeroMq().connect(f"zmq://localhost:{port}")
        await exchange(client, await listener.accept())
        await client.close()


@needs_ipv6
async def test_an_ipv6_address_has_its_brackets() -> None:
    async with await ZeroMq().listen("zmq://[::1]:0") as listener:
        client = await ZeroMq().connect(listener.contact)
        server = await listener.accept()
        await exchange(client, server)
        assert listener.address.startswith("zmq://[::1]:")
        assert server.peer == client.local == str(Address.parse(client.local))
        await client.close()


async def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)

    with pytest.raises(ConnectFailed, match="zmq://nowhere:1: Name or service not known"):
        await ZeroMq().connect("zmq://nowhere:1")
    with pytest.raises(ListenFailed, match="Name or service not known"):
        await ZeroMq().listen("zmq://nowhere:1")


@pytest.mark.parametrize("address", ["zmq://*:80", "zmq://0.0.0.0:80", "zmq://127.0.0.1:0"])
async def test_an_address_to_listen_at_cannot_be_dialled(address: str) -> None:
    with pytest.raises(AddressError, match="this is one to listen at"):
        await ZeroMq().connect(address)


@pytest.mark.parametrize("address", ["zmq://127.0.0.1:1", "zmq+ipc:///nowhere/at/all"])
async def test_a_refused_connection_says_so_at_once(address: str) -> None:
    wire = ZeroMq() if address.startswith("zmq:") else ZeroMqIpc()
    async with asyncio.timeout(20):
        with pytest.raises(ConnectFailed, match="refused"):
            await wire.connect(address)


async def test_a_port_of_a_stream_socket_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenFailed, match="Address already in use"):
        await ZeroMq().listen(f"zmq://127.0.0.1:{other.getsockname()[1]}")


async def test_a_server_of_another_wire_is_nobody() -> None:
    async def shut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(shut, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectFailed):
            await ZeroMq().connect(f"zmq://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize("answer", [b"", b"what?", OPENED + bytes(WORD_BYTES), HELLO, DATA + b"1"])
async def test_another_zeromq_server_is_nobody(answer: bytes) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        other.linger = 0
        port = other.bind_to_random_port("tcp://127.0.0.1")
        connecting = asyncio.ensure_future(ZeroMq().connect(f"zmq://127.0.0.1:{port}"))
        who, said = await asyncio.to_thread(other.recv_multipart)
        assert said == HELLO
        other.send_multipart([who, answer])
        with pytest.raises(ConnectFailed, match="no Sundog server"):
            await connecting


async def test_a_file_that_is_no_socket_is_not_removed(folder: Path) -> None:
    (folder / "precious").write_text("data")
    with pytest.raises(ListenFailed, match="File exists"):
        await ZeroMqIpc().listen(f"zmq+ipc://{folder}/precious")
    assert (folder / "precious").read_text() == "data"


async def test_the_socket_of_a_killed_listener_is_in_nobodys_way(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(folder / "s"))
        killed.listen()
    async with await ZeroMqIpc().listen(f"zmq+ipc://{folder}/s") as listener:
        client = await ZeroMqIpc().connect(listener.contact)
        await exchange(client, await listener.accept())
        await client.close()
    assert not list(folder.iterdir())


async def test_another_programs_socket_is_taken(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "s"))
        other.listen()
        with pytest.raises(ListenFailed, match="Address already in use"):
            await ZeroMqIpc().listen(f"zmq+ipc://{folder}/s")


async def test_a_path_too_long_is_told(folder: Path) -> None:
    address = f"zmq+ipc://{folder}/{'x' * 200}"
    with pytest.raises(ListenFailed, match="too long"):
        await ZeroMqIpc().listen(address)
    with pytest.raises(ConnectFailed, match="too long"):
        await ZeroMqIpc().connect(address)


async def test_a_closed_listeners_address_is_held_by_its_connections() -> None:
    """See docs/decisions/0005: the library cannot stop to listen alone."""
    async with await ZeroMq().listen(LOOPBACK) as listener:
        client = await ZeroMq().connect(listener.contact)
        server = await listener.accept()

    with pytest.raises(ConnectFailed, match="nobody listens here"):
        await ZeroMq().connect(listener.contact)
    with pytest.raises(ListenFailed, match="Address already in use"):
        await ZeroMq().listen(listener.address, max_frame_bytes=1000)
    async with await ZeroMq().listen(listener.address) as again:
        other = await ZeroMq().connect(again.contact)
        await exchange(other, await again.accept())
        await exchange(server, client)
        await other.close()
    await client.close()
    with pytest.raises(EndOfConnection):
        await server.receive()
    with socket.create_server(("127.0.0.1", Address.parse(listener.address).port)):
        pass


async def test_a_reused_descriptor_is_not_mistaken_for_the_one_before() -> None:
    async with three() as (listener, _, _):
        for _ in range(50):
            first = await ZeroMq().connect(listener.contact)
            lost = await listener.accept()
            first.abort()
            second = await ZeroMq().connect(listener.contact)
            kept = await listener.accept()
            with pytest.raises(ConnectionLost):
                await lost.receive()
            await exchange(second, kept)
            second.abort()


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        ([[b""]], MalformedFrame),
        ([[b"?what"]], MalformedFrame),
        ([[HELLO]], MalformedFrame),
        ([[DATA, b"one", b"too many"]], MalformedFrame),
        ([[DATA] + [b""] * 10_000], MalformedFrame),
        ([[CREDIT]], MalformedFrame),
        ([[CREDIT + (1).to_bytes(8, "big")]], MalformedFrame),
        ([[CREDIT + bytes(8), b"more"]], MalformedFrame),
        ([[SEEN]], MalformedFrame),
        ([[DATA + bytes(600), bytes(600)]], FrameTooLarge),
        ([[DATA + bytes(1001)]], ConnectionLost),
        ([[GONE]], ConnectionLost),
        ([], ConnectionLost),
        ([[GOODBYE], [DATA + b"too late"]], EndOfConnection),
    ],
)
async def test_messages_that_are_no_frames_end_their_own_connection(messages: list[Message], end: type[Exception]) -> None:
    async with three(max_frame_bytes=1000) as (listener, _, _), stranger_at(listener.contact) as stranger:
        # The library tells of a message that it refuses before it hands over those that came just before it.
        accepted = threading.Event()
        saying = asyncio.create_task(stranger.say(messages, after=accepted))
        connection = await listener.accept()
        accepted.set()
        with pytest.raises(end):
            await connection.receive()
        await saying
        assert "open" not in repr(connection)


async def test_more_frames_than_the_window_allows_are_not_kept() -> None:
    async with three() as (listener, _, _), stranger_at(listener.contact) as stranger:
        assert await stranger.hear([[DATA + b"1"]] * (WINDOW_ITEMS + 1)) == [GONE]
        connection = await listener.accept()
        for _ in range(WINDOW_ITEMS):
            assert await connection.receive() == b"1"
        with pytest.raises(MalformedFrame, match="window"):
            await connection.receive()


async def test_whoever_breaks_the_rules_is_told_to_hang_up() -> None:
    async with three() as (listener, _, _), stranger_at(listener.contact) as stranger:
        assert await stranger.hear([[b"?"]]) == [GONE]


@pytest.mark.parametrize(
    "messages",
    [
        [[DATA + b"hello"]],
        [[b""]],
        [[b"", b""]],
        [[HELLO + b"!"]],
        [[HELLO, b""]],
        [[HELLO]],
        [[HELLO], [READY + bytes(WORD_BYTES)]],
        [[READY + bytes(WORD_BYTES)], [GOODBYE]],
        [[bytes(100_000)] * 50],
    ],
)
async def test_who_is_not_one_of_ours_leaves_nothing_behind(messages: list[Message]) -> None:
    async with three() as (listener, _, _):
        hub, has_gone = listener._hub, asyncio.Event()
        vanish = hub._vanish
        hub._vanish = lambda owners: (vanish(owners), has_gone.set())  # type: ignore[assignment,func-returns-value,method-assign]
        async with stranger_at(listener.contact) as stranger:
            await stranger.say(messages, is_polite=False)
        async with asyncio.timeout(20):
            await has_gone.wait()

        assert (len(hub._peers), len(hub._guests), len(hub._on_descriptor)) == (1, 0, 1)
        await nothing_accepted(listener)


async def test_raw_bytes_on_the_port_disturb_nobody() -> None:
    """T104, in part: what stands below the messages is the library's; nothing of it reaches us."""
    rng = Random(104)
    greetings = [
        bytes.fromhex("ff00000000000000017f03004e554c4c") + bytes(48),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("16030100f1010000ed0303") + bytes(100),
    ]
    async with three() as (listener, client, server):
        address = Address.parse(listener.contact)
        for number in range(600):
            with socket.create_connection((address.host, address.port)) as stranger:
                stranger.sendall(rng.randbytes(rng.randrange(1, 300)) if number % 4 == 0 else mutated(rng, greetings[number % 4 - 1]))
            if number % 50 == 0:
                await exchange(client, server)
        await nothing_accepted(listener)


@pytest.mark.parametrize("said", [HELLO, b"R" + bytes(16), b"", b"anything"])
async def test_who_speaks_the_librarys_first_protocol_is_nobody(said: bytes) -> None:
    """That protocol has no handshake: such messages come through, without the descriptor that they came by."""
    async with three() as (listener, client, server):
        address = Address.parse(listener.contact)
        with socket.create_connection((address.host, address.port)) as stranger:
            stranger.sendall(b"\x01\x00" + 3 * (bytes([len(said) + 1, 0]) + said))
            stranger.shutdown(socket.SHUT_WR)
            await asyncio.to_thread(stranger.recv, 100)
            await exchange(client, server)
            await nothing_accepted(listener)


async def test_a_routing_id_is_no_identity() -> None:
    """One who calls himself as another is called below gets nothing of his."""
    async with three() as (listener, client, server), stranger_at(listener.contact) as stranger:
        (victim,) = listener._hub._peers
        with stranger._context.socket(zmq.DEALER) as thief:
            thief.linger = 0
            thief.rcvtimeo = 50
            thief.routing_id = b"x" + victim[1:]  # what begins with a zero is the library's own, and cannot be claimed
            thief.connect(stranger._endpoint)
            thief.send(GOODBYE)
            await server.send(b"for the client")
            assert await client.receive() == b"for the client"
            with pytest.raises(zmq.Again):
                await asyncio.to_thread(thief.recv)


def threads() -> int:
    """How many this process has, of Python and not."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
async def test_no_thread_of_the_library_is_left() -> None:
    await asyncio.to_thread(int)
    before = threads()
    async with three():
        assert threads() > before
    assert await above(before, threads) == 0


LOOPS = """
import asyncio, threading
from sundog.transports import endpoints

async def meet():
    async with await endpoints.listen("zmq://127.0.0.1:0") as listener:
        client = await endpoints.connect(listener.contact)
        server = await listener.accept()
        for _ in range(200):
            await client.send(b"ping")
            assert await server.receive() == b"ping"
        await client.close()

for _ in range(2):
    asyncio.run(meet())
threads = [threading.Thread(target=lambda: asyncio.run(meet())) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_loops_may_follow_one_another_or_live_side_by_side() -> None:
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", LOOPS], capture_output=True, text=True, check=False, timeout=100)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_ends_though_it_forgot_to_close() -> None:
    forgetful = LOOPS.replace("await client.close()", "return client, server").replace("async with await", "if listener := await")
    forgetful = forgetful.replace(" as listener:", ":")
    done = subprocess.run([sys.executable, "-P", "-c", forgetful], capture_output=True, text=True, check=False, timeout=100)

    assert done.returncode == 0, done.stderr
