"""Each test of the link runs over each wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sundog.kernel.plugins import Plugins
from sundog.transports import endpoints

from .sides import WIRES, Sides, two_sides


@pytest.fixture(autouse=True)
def _only_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Plugins(("sundog.transports.builtin",), entry_points=(), blocked=())
    monkeypatch.setattr(endpoints, "plugins", lambda: known)


@pytest.fixture(params=WIRES, ids=lambda wire: wire.partition(":")[0])
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    async with two_sides(request.param) as sides:
        yield sides
