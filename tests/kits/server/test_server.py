"""A server as a whole: whom it lets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.transport import Connection
from sundog.kits.server.server import Server
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.kit import Limits, ServerKit
from sundog.transports import endpoints
from sundog.transports.link import Identity
from sundog.transports.link.hello import encode_hello, read_answer
from sundog.transports.link.refusals import TooManySites


async def say_hello(address: str, role: str, name: str) -> Connection:
    connection = await endpoints.connect(address)
    await connection.send(encode_hello(Identity("clinic", role, name).hello(0)))
    read_answer(await connection.receive(), address)
    return connection


async def test_no_more_sites_are_let_in_than_the_kit_says(tmp_path: Path) -> None:
    """An admin, and the same site again, are no more sites."""
    (tmp_path / "startup").mkdir()
    kit = ServerKit(project="clinic", listen="inproc://limits", admin_listen="inproc://limits", limits=Limits(max_sites=1))

    async with Server(Workspace(tmp_path).create(), kit, launcher=ProcessLauncher(), scheduler=FifoScheduler()):
        first = await say_hello("inproc://limits", "site", "site-1")
        admin = await say_hello("inproc://limits", "admin", "admin")

        with pytest.raises(TooManySites, match="the limit is 1"):
            await say_hello("inproc://limits", "site", "site-2")

        first.abort()
        admin.abort()
