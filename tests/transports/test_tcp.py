"""What is special about TCP: names, wildcards, limits of the machine?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from sundog.kernel.transport import AddressError, ConnectFailed, Connection, ListenFailed
from sundog.transports.address import Address
from sundog.transports.listener import SocketListener
from sundog.transports.stream import StreamConnection
from sundog.transports.tcp import Tcp


async def exchange(client: Connection, server: Connection) -> None:
    await client.send(b"ping")
    assert await server.receive() == b"ping"


@pytest.mark.parametrize("wildcard", ["*", "0.0.0.0", ""])
async def test_a_wildcard_is_reached_by_a_number_and_called_by_name(wildcard: str) -> None:
    async with await Tcp().listen(f"tcp://{wildcard}:0") as listener:
        port = Address.parse(listener.address).port

        assert listener.address == f"tcp://{wildcard}:{port}"
        assert listener.contact == f"tcp://{socket.gethostname()}:{port}"
        async with await Tcp().connect(f"tcp://127.0.0.1:{port}") as client, await listener.accept() as server:
            await exchange(client, server)
            assert server.local == f"tcp://127.0.0.1:{port}"
            assert server.peer == client.local


async def test_a_name_is_resolved() -> None:
    async with await Tcp().listen("tcp://localhost:0") as listener:
        port = Address.parse(listener.address).port
        assert listener.address == f"tcp://127.0.0.1:{port}"
        async with await Tcp().connect(f"tcp://localhost:{port}") as client, await listener.accept() as server:
            await exchange(client, server)


async def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)

    with pytest.raises(ConnectFailed, match="tcp://nowhere:1: Name or service not known"):
        await Tcp().connect("tcp://nowhere:1")
    with pytest.raises(ListenFailed, match="Name or service not known"):
        await Tcp().listen("tcp://nowhere:1")


@pytest.mark.parametrize("address", ["tcp://*:80", "tcp://0.0.0.0:80", "tcp://127.0.0.1:0"])
async def test_an_address_to_listen_at_cannot_be_dialled(address: str) -> None:
    with pytest.raises(AddressError, match="this is one to listen at"):
        await Tcp().connect(address)


async def test_short_frames_are_not_held_back() -> None:
    async with (
        await Tcp().listen("tcp://127.0.0.1:0") as listener,
        await Tcp().connect(listener.contact) as client,
        await listener.accept() as server,
    ):
        for end in (client, server):
            assert isinstance(end, StreamConnection)
            assert end._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_port_that_calls_itself_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dialling a free port of this machine for ever hits, one day, the port the call itself goes out from."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    class Calling(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            super().__init__(family, kind)
            self.bind(("127.0.0.1", port))

    monkeypatch.setattr(socket, "socket", Calling)

    with pytest.raises(ConnectFailed, match="called itself"):
        await Tcp().connect(f"tcp://127.0.0.1:{port}")


async def test_without_descriptors_a_peer_is_turned_away_and_the_listener_goes_on() -> None:
    loop = asyncio.get_running_loop()
    async with await Tcp().listen("tcp://127.0.0.1:0") as listener:
        address = Address.parse(listener.contact)
        with socket.socket() as unlucky:
            unlucky.setblocking(False)
            with no_descriptors_left():
                await loop.sock_connect(unlucky, (address.host, address.port))
                async with asyncio.timeout(20):
                    with contextlib.suppress(ConnectionResetError):
                        assert await loop.sock_recv(unlucky, 1) == b""
        async with await Tcp().connect(listener.contact) as client, await listener.accept() as server:
            await exchange(client, server)


async def test_a_spare_descriptor_that_another_thread_took_is_not_closed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number would be that of a file of somebody else: a journal, say."""
    async with await Tcp().listen("tcp://127.0.0.1:0") as listener:
        assert isinstance(listener, SocketListener)
        with monkeypatch.context() as taken:
            taken.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
            listener._turn_away()
        numbers = [os.dup(0) for _ in range(20)]

        listener._turn_away()

        for number in numbers:
            os.fstat(number)
            os.close(number)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """The process may open no more files, for the length of the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    fillers = [highest]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for filler in fillers:
            os.close(filler)
