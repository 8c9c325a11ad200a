"""Does a link live through what a network does to it? Over what stands on TCP, with a proxy in between."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sundog.transports.address import Address, scheme_of
from sundog.transports.link import Link
from sundog.transports.link.intake import STREAM_CREDIT_BYTES

from ...faults.proxy import Proxy, proxy_to
from .sides import Sides, note, offered, two_sides

MIB = 1024 * 1024
SOCKET_BUFFERS_BYTES = 2 * MIB
"""What the kernel and the proxy hold on top of what a transfer may have under way."""


@pytest.fixture(params=["tcp", "grpc", "zmq"])
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    async with two_sides(f"{request.param}://127.0.0.1:0") as sides:
        yield sides


def through(proxy: Proxy, sides: Sides) -> str:
    """The server's address, by way of the proxy."""
    return f"{scheme_of(sides.wire)}://127.0.0.1:{proxy.port}"


@pytest.fixture
async def proxy(sides: Sides) -> AsyncIterator[Proxy]:
    address = Address.parse(await sides.listen())
    async with proxy_to(address.host, address.port) as proxy:
        yield proxy


@pytest.fixture
async def server(sides: Sides, proxy: Proxy) -> Link:
    """The server's end of a link through the proxy."""
    dialer, owner = sides.dialer(through(proxy, sides))
    sides.run(dialer)
    await owner.ups.get()
    return await sides.server.ups.get()


async def test_an_upload_cut_at_60_percent_goes_on_there(sides: Sides, proxy: Proxy, server: Link, tmp_path: Path) -> None:
    """T159: what crosses the wire is the file, and at most 10 % more than what may be under way."""
    size = 32 * MIB
    key = offered(sides.dialers[0].link, tmp_path / "result", random.Random(2).randbytes(size))
    proxy.cuts_after_bytes = 0.6 * size
    fetching = asyncio.ensure_future(server.transfers.fetch(key, size, tmp_path / "in"))

    await sides.sites[0].downs.get()
    await sides.back_off()
    await fetching

    assert (proxy.cuts, proxy.connections) == (1, 2)
    assert hashlib.sha256((tmp_path / "in").read_bytes()).hexdigest() == key
    assert proxy.passed_bytes - size < 1.1 * STREAM_CREDIT_BYTES + SOCKET_BUFFERS_BYTES


async def test_a_half_open_link_is_seen_on_both_sides(sides: Sides, proxy: Proxy, server: Link) -> None:
    """Nothing is reset, nothing answers: only the heartbeat tells."""
    proxy.freeze()

    sides.clock.advance(15)

    assert "SD-2111" in await sides.server.downs.get()
    assert "SD-2111" in await sides.sites[0].downs.get()
    proxy.thaw()
    await sides.back_off()
    assert await sides.sites[0].ups.get() is sides.dialers[0].link


async def test_a_reset_at_any_of_the_first_bytes_only_costs_another_attempt(sides: Sides, proxy: Proxy) -> None:
    """HELLO and its answer have about 300 bytes: the cut falls before, into, between and behind them."""
    dialer, owner = sides.dialer(through(proxy, sides))
    sides.server.on_up = lambda link: link.send(note(1), bytes(500))
    proxy.cuts_after_bytes = 0
    sides.run(dialer)

    for cut_at in range(10, 500, 35):
        seconds = await sides.waits.get()
        proxy.cuts_after_bytes = cut_at
        sides.clock.advance(seconds)
    await sides.waits.get()
    proxy.cuts_after_bytes = float("inf")
    sides.clock.advance(5)

    assert await owner.messages.get() == (note(1), bytes(500))
    assert proxy.cuts == proxy.connections - 1 == 15
