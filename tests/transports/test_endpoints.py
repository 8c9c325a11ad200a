"""Does an address find its transport?"""

from __future__ import annotations

import pytest

from sundog.kernel.plugins import Plugins
from sundog.kernel.transport import AddressError
from sundog.transports import endpoints


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Only the transports: the other built-in plugins do not matter here."""
    known = Plugins(("sundog.transports.builtin",), entry_points=(), blocked=())
    monkeypatch.setattr(endpoints, "plugins", lambda: known)
    return known


@pytest.mark.parametrize("address", ["inproc://server", "tcp://127.0.0.1:0"])
async def test_an_address_is_listened_at_and_dialled(address: str) -> None:
    async with await endpoints.listen(address) as listener, await endpoints.connect(listener.contact) as client:
        server = await listener.accept()

        await client.send(b"hello")

        assert await server.receive() == b"hello"


async def test_an_unknown_scheme_is_told_with_what_was_meant() -> None:
    with pytest.raises(AddressError, match=r"tpc://x:1: no transport is called 'tpc'; did you mean 'tcp'\?"):
        await endpoints.connect("tpc://x:1")


def test_what_is_not_a_transport_is_told_with_its_plugin(known: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "find", lambda role, name: dict)

    with pytest.raises(AddressError, match="of plugin transports is not a Transport"):
        endpoints.transport_of("tcp://x:1")
