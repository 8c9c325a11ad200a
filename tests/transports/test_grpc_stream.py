"""What is special about gRPC: its addresses, its messages, strangers who speak it and who do not?"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest

from sundog.kernel.transport import (
    AddressError,
    ConnectFailed,
    Connection,
    ConnectionLost,
    EndOfConnection,
    FrameTooLarge,
    ListenFailed,
    MalformedFrame,
)
from sundog.transports import grpc_stream
from sundog.transports.address import Address
from sundog.transports.grpc_connection import GOODBYE, LAST, MORE, PIECE_BYTES, GrpcConnection
from sundog.transports.grpc_stream import GrpcStream

from .grpc_stranger import stranger_at
from .ipv6 import needs_ipv6
from .test_hostile_frames import mutated

LOOPBACK = "grpc://127.0.0.1:0"


async def exchange(client: Connection, server: Connection) -> None:
    await client.send(b"ping")
    assert await server.receive() == b"ping"


@pytest.mark.parametrize("wildcard", ["*", "0.0.0.0", ""])
async def test_a_wildcard_is_reached_by_a_number_and_called_by_name(wildcard: str) -> None:
    async with await GrpcStream().listen(f"grpc://{wildcard}:0") as listener:
        port = Address.parse(listener.address).port

        assert listener.address == f"grpc://{wildcard}:{port}"
        assert listener.contact == f"grpc://{socket.gethostname()}:{port}"
        async with await GrpcStream().connect(f"grpc://127.0.0.1:{port}") as client, await listener.accept() as server:
            await exchange(client, server)
            assert client.peer == f"grpc://127.0.0.1:{port}"
            assert server.peer == client.local


async def test_a_name_is_resolved() -> None:
    async with await GrpcStream().listen("grpc://localhost:0") as listener:
        port = Address.parse(listener.address).port
        assert listener.address == f"grpc://127.0.0.1:{port}"
        async with await GrpcStream().connect(f"grpc://localhost:{port}") as client, await listener.accept() as server:
            await exchange(client, server)


@needs_ipv6
async def test_an_ipv6_address_has_its_brackets() -> None:
    async with (
        await GrpcStream().listen("grpc://[::1]:0") as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        await exchange(client, server)
        assert listener.address.startswith("grpc://[::1]:")
        assert server.peer == client.local == str(Address.parse(client.local))


async def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)

    with pytest.raises(ConnectFailed, match="grpc://nowhere:1: Name or service not known"):
        await GrpcStream().connect("grpc://nowhere:1")
    with pytest.raises(ListenFailed, match="Name or service not known"):
        await GrpcStream().listen("grpc://nowhere:1")


@pytest.mark.parametrize("address", ["grpc://*:80", "grpc://0.0.0.0:80", "grpc://127.0.0.1:0"])
async def test_an_address_to_listen_at_cannot_be_dialled(address: str) -> None:
    with pytest.raises(AddressError, match="this is one to listen at"):
        await GrpcStream().connect(address)


async def test_a_refused_connection_says_so_at_once() -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ConnectFailed, match=r"grpc://127.0.0.1:1: .*[Cc]onnection refused"):
            await GrpcStream().connect("grpc://127.0.0.1:1")


async def test_a_port_of_a_stream_socket_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenFailed, match="cannot be bound"):
        await GrpcStream().listen(f"grpc://127.0.0.1:{other.getsockname()[1]}")


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async with (
        await GrpcStream().listen(LOOPBACK) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        await exchange(client, server)


@pytest.mark.parametrize("size", [PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 5])
async def test_a_long_frame_travels_in_pieces(size: int) -> None:
    frame = Random(size).randbytes(size)
    async with (
        await GrpcStream().listen(LOOPBACK) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(client.send(frame))
        assert await server.receive() == frame
        tasks.create_task(server.send(frame))
        assert await client.receive() == frame


@pytest.mark.parametrize("size", [101, 3 * PIECE_BYTES])
async def test_a_frame_over_the_receivers_limit_ends_the_connection(size: int) -> None:
    async with (
        await GrpcStream().listen(LOOPBACK, max_frame_bytes=100) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        sending = asyncio.ensure_future(client.send(bytes(size)))

        with pytest.raises(FrameTooLarge, match="is over the limit of 100"):
            await server.receive()
        with pytest.raises(ConnectionLost):
            await client.receive()
        await asyncio.wait({sending})
        sending.exception()  # some of it may have been taken before the server saw it


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        ([b""], MalformedFrame),
        ([b"\x03what?"], MalformedFrame),
        ([GOODBYE + b"and more"], MalformedFrame),
        ([MORE], MalformedFrame),
        ([MORE + b"half a frame", GOODBYE], MalformedFrame),
        ([MORE + b"half a frame"], ConnectionLost),
        ([LAST + bytes(PIECE_BYTES + 1)], ConnectionLost),
        ([], ConnectionLost),
        ([GOODBYE, LAST + b"too late"], EndOfConnection),
    ],
)
async def test_messages_that_are_no_frames_end_their_own_stream(messages: list[bytes], end: type[Exception]) -> None:
    async with (
        await GrpcStream().listen(LOOPBACK) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
        stranger_at(listener.contact) as stranger,
    ):
        await stranger.say(messages)
        with pytest.raises(end):
            await (await listener.accept()).receive()
        await exchange(client, server)


async def test_another_method_is_not_served() -> None:
    async with await GrpcStream().listen(LOOPBACK) as listener, stranger_at(listener.contact) as stranger:
        assert await stranger.stream("/another/Method").code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("word", ["no address", "tcp://127.0.0.1:1", ""])
async def test_another_grpc_server_is_nobody(word: str) -> None:
    async def silent(_: object, context: Any) -> None:
        await context.send_initial_metadata((("sundog-caller", word),))
        await context.read()

    class Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library ships no types
        def service(self, handler_call_details: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(silent)

    server = grpc.aio.server(handlers=[Anything()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(ConnectFailed, match="no Sundog server"):
            await GrpcStream().connect(f"grpc://127.0.0.1:{port}")
    finally:
        await server.stop(None)


async def test_a_server_of_another_wire_is_nobody() -> None:
    async def shut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(shut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed):
            await GrpcStream().connect(f"grpc://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "first", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")], ids=["nothing", "HTTP/2"]
)
async def test_who_opens_no_stream_is_shown_out(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    """Each holds a descriptor. Waits until the server hangs up, which the library would otherwise do after two minutes, or never."""
    options = [(name, 1000 if value == grpc_stream._SILENT_MS else value) for name, value in grpc_stream._SERVER_OPTIONS]
    monkeypatch.setattr(grpc_stream, "_SERVER_OPTIONS", options)
    loop = asyncio.get_running_loop()
    async with (
        await GrpcStream().listen(LOOPBACK) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        address = Address.parse(listener.contact)
        with socket.create_connection((address.host, address.port)) as stranger:
            stranger.setblocking(False)
            await loop.sock_sendall(stranger, first)
            async with asyncio.timeout(20):
                while await loop.sock_recv(stranger, 1000):
                    pass
        await exchange(client, server)


async def test_a_reader_that_fails_ends_its_connection() -> None:
    """Whatever the library raises: who waits for a frame is told, instead of waiting for ever."""

    class Odd:
        async def read(self) -> bytes:
            raise KeyError("a mistake of the library")

    connection = GrpcConnection(Odd(), local="here", peer="there", max_frame_bytes=100)
    running = asyncio.ensure_future(connection.run())
    with pytest.raises(ConnectionLost, match="it is read no longer"):
        await connection.receive()
    await running


async def test_mutated_bytes_on_the_port_disturb_nobody() -> None:
    """T104, in part: what stands below the frames is the library's; nothing of it reaches us."""
    rng = Random(104)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000006040000000000000500004000" + "000004080000000000003f0001")
    async with (
        await GrpcStream().listen(LOOPBACK) as listener,
        await GrpcStream().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        address = Address.parse(listener.contact)
        for number in range(500):
            with socket.create_connection((address.host, address.port)) as stranger:
                stranger.sendall(rng.randbytes(rng.randrange(1, 300)) if number % 2 else mutated(rng, preface))
            if number % 50 == 0:
                await exchange(client, server)
        accepting = asyncio.ensure_future(listener.accept())
        await exchange(client, server)

        assert not accepting.done()
        accepting.cancel()


TWO_LOOPS = """
import asyncio
from sundog.transports import endpoints

async def meet():
    async with await endpoints.listen("grpc://127.0.0.1:0") as listener:
        client = await endpoints.connect(listener.contact)
        server = await listener.accept()
        await client.send(b"ping")
        assert await server.receive() == b"ping"
        await client.close()

for _ in range(3):
    asyncio.run(meet())
"""


def test_loops_may_follow_one_another_and_the_process_ends_in_silence() -> None:
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", TWO_LOOPS], capture_output=True, text=True, check=False, timeout=100)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
