"""A server as a whole: whom it lets in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.messages import Message, encode
from sundog.kernel.transport import Connection, ConnectionLost
from sundog.kits.protocol.messages import Ask, Command, Sync
from sundog.kits.server.server import Server
from sundog.kits.supervisor.means import open_means
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.kit import Limits, ServerKit
from sundog.transports import endpoints
from sundog.transports.link import Identity
from sundog.transports.link.hello import encode_hello, read_answer
from sundog.transports.link.refusals import TooManySites, UnknownPeer


@asynccontextmanager
async def started(root: Path, kit: ServerKit) -> AsyncIterator[Server]:
    (root / "startup").mkdir(exist_ok=True)
    async with open_means() as means:
        server = Server(Workspace(root).create(), kit, means, launcher=ProcessLauncher(), scheduler=FifoScheduler())
        async with server:
            yield server


async def say_hello(address: str, role: str, name: str) -> Connection:
    connection = await endpoints.connect(address)
    await connection.send(encode_hello(Identity("clinic", role, name).hello(0)))
    read_answer(await connection.receive(), address)
    return connection


async def until_lost(connection: Connection) -> None:
    """Receive what there is."""
    while True:
        await connection.receive()


async def test_who_is_neither_site_nor_admin_is_not_let_in(tmp_path: Path) -> None:
    """Under another role somebody would be a second link with a site's name, and speak for it."""
    kit = ServerKit(project="clinic", listen="inproc://roles", admin_listen="inproc://roles")

    async with started(tmp_path, kit):
        site = await say_hello("inproc://roles", "site", "site-1")
        for role in ("overseer", "server", "Site"):
            with pytest.raises(UnknownPeer, match=f"not with {role}"):
                await say_hello("inproc://roles", role, "site-1")
        site.abort()


@pytest.mark.parametrize(("role", "said"), [("site", Command("1", "list_jobs")), ("site", Ask("1", "pwd")), ("admin", Sync([]))])
async def test_who_says_what_his_role_does_not_say_is_dropped(tmp_path: Path, role: str, said: Message) -> None:
    kit = ServerKit(project="clinic", listen="inproc://words", admin_listen="inproc://words")

    async with started(tmp_path, kit):
        connection = await say_hello("inproc://words", role, "one")
        await connection.send(encode(said))
        with pytest.raises(ConnectionLost):
            await until_lost(connection)


async def test_no_more_sites_are_let_in_than_the_kit_says(tmp_path: Path) -> None:
    """An admin, and the same site again, are no more sites."""
    kit = ServerKit(project="clinic", listen="inproc://limits", admin_listen="inproc://limits", limits=Limits(max_sites=1))

    async with started(tmp_path, kit):
        first = await say_hello("inproc://limits", "site", "site-1")
        admin = await say_hello("inproc://limits", "admin", "admin")

        with pytest.raises(TooManySites, match="the limit is 1"):
            await say_hello("inproc://limits", "site", "site-2")

        first.abort()
        admin.abort()
