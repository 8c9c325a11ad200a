"""Does an address find its transport?"""

from __future__ import annotations

import sys

import pytest

from sundog.kernel.importing import LibraryMissing
from sundog.kernel.plugins import Plugins
from sundog.kernel.transport import AddressError, ConnectionLost
from sundog.transports import endpoints


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Only the transports: the other built-in plugins do not matter here."""
    known = Plugins(("sundog.transports.builtin",), entry_points=(), blocked=())
    monkeypatch.setattr(endpoints, "plugins", lambda: known)
    return known


@pytest.mark.parametrize("address", ["inproc://server", "tcp://127.0.0.1:0", "zmq://127.0.0.1:0", "grpc://127.0.0.1:0"])
async def test_an_address_is_listened_at_and_dialled(address: str) -> None:
    async with await endpoints.listen(address) as listener, await endpoints.connect(listener.contact) as client:
        server = await listener.accept()

        await client.send(b"hello")

        assert await server.receive() == b"hello"


async def test_an_unknown_scheme_is_told_with_what_was_meant() -> None:
    with pytest.raises(AddressError, match=r"tpc://x:1: no transport is called 'tpc'; did you mean 'tcp'\?"):
        await endpoints.connect("tpc://x:1")


@pytest.mark.parametrize(
    ("scheme", "library", "package"), [("zmq", "zmq", "pyzmq"), ("zmq+ipc", "zmq", "pyzmq"), ("grpc", "grpc", "grpcio")]
)
async def test_without_a_wires_library_only_its_scheme_fails(
    scheme: str, library: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(library, monkeypatch)

    with pytest.raises(LibraryMissing, match=f"imports {library}, which is not installed") as caught:
        await endpoints.listen(f"{scheme}://127.0.0.1:0")

    assert caught.value.cure == f"pip install {package}"
    async with await endpoints.listen("tcp://127.0.0.1:0") as listener, await endpoints.connect(listener.contact) as client:
        (await listener.accept()).abort()
        with pytest.raises(ConnectionLost):
            await client.receive()


def hide(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed, and nobody had imported it."""
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith((f"{library}.", "sundog.transports.zeromq", "sundog.transports.grpc"))]:
        monkeypatch.delitem(sys.modules, name)


def test_what_is_not_a_transport_is_told_with_its_plugin(known: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "find", lambda role, name: dict)

    with pytest.raises(AddressError, match="of plugin transports is not a Transport"):
        endpoints.transport_of("tcp://x:1")
