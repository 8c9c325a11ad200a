"""A site as a whole: what does it do when its disk or its operator's parts fail?"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.components.resources.counted import ListResourceManager
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.messages import Message, MessageError
from sundog.kernel.transport import FrameTooLarge
from sundog.kits.protocol.messages import AbortRun, AbortTask, Cancel, Check, Checked, Command, Offer, Reply, Started, StartRun, Sync
from sundog.kits.server.server import Server
from sundog.kits.site.run_events import TaskAborted
from sundog.kits.site.server_events import ServerEvents
from sundog.kits.site.site import Site
from sundog.kits.supervisor.means import Means, open_means
from sundog.kits.supervisor.storage import StorageFailed
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.kit import ServerKit, SiteKit
from sundog.transports.link import Link
from sundog.transports.link.carrier import ConnectionReplaced
from sundog.transports.link.hello import Peer

from ...e2e.jobs import JobFolder, training


class Resources(ListResourceManager):
    """One GPU; and it may break."""

    error: Exception | None = None

    def check(self, job_id: str, spec: Mapping[str, Any]) -> str:
        if self.error is not None:
            raise self.error
        return super().check(job_id, {"gpu": 1})


class Pair:
    """A server and its one site."""

    def __init__(self, root: Path, means: Means) -> None:
        for name in ("server", "site-1"):
            (root / name / "startup").mkdir(parents=True)
        address = f"inproc://pair-{id(self)}"
        kit = ServerKit(project="clinic", listen=address, admin_listen=address)
        self.server = Server(Workspace(root / "server").create(), kit, means, launcher=ProcessLauncher(), scheduler=FifoScheduler())
        self.resources = Resources({"gpu": [0]})
        site = SiteKit(project="clinic", name="site-1", endpoints=[address])
        self.site = Site(Workspace(root / "site-1").create(), site, means, launcher=ProcessLauncher(), resources=self.resources)


@asynccontextmanager
async def new_pair(root: Path) -> AsyncIterator[Pair]:
    async with open_means() as means:
        yield Pair(root, means)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with new_pair(tmp_path) as pair, pair.server, pair.site:
        async with asyncio.timeout(20):
            await pair.server.wait_for_sites(1)
        yield pair


async def test_a_run_that_a_sites_disk_has_no_room_for_fails_with_the_reason_and_holds_no_gpu(pair: Pair, tmp_path: Path) -> None:
    outbox = pair.site.workspace.outbox
    outbox.write_text("in the way")

    job = await pair.server.jobs.take_in(JobFolder(tmp_path / "job").write())
    async with asyncio.timeout(40):
        await pair.server.jobs.wait_until(lambda: pair.server.jobs.table.find(job.id).status.is_end)

    failure = pair.server.jobs.report(pair.server.jobs.table.find(job.id)).failure
    assert failure is not None
    assert (failure.site, failure.code) == ("site-1", "SD-5051")
    assert str(outbox) in failure.where
    assert pair.site.runs == {}
    assert pair.resources.check("another", {})


async def test_a_resource_manager_that_breaks_is_an_answer_and_costs_no_link(pair: Pair, tmp_path: Path) -> None:
    pair.resources.error = ValueError("no driver")
    before = pair.server.sites()["site-1"]

    job = await pair.server.jobs.take_in(JobFolder(tmp_path / "job").write())
    async with asyncio.timeout(40):
        await pair.server.jobs.wait_until(lambda: "ValueError: no driver" in pair.server.jobs.table.find(job.id).waits_for)

    assert pair.server.sites()["site-1"] is before
    assert before.is_up


@pytest.mark.parametrize("token", ["", "t" * 256, 7], ids=["empty", "long", "a number"])
async def test_a_token_that_is_none_is_an_answer_and_costs_no_link(pair: Pair, monkeypatch: pytest.MonkeyPatch, token: Any) -> None:
    said: list[Message] = []
    monkeypatch.setattr(pair.site.link, "send", said.append)
    monkeypatch.setattr(pair.resources, "check", lambda job_id, spec: token)

    pair.site.check(Check("run", {}))

    (answer,) = said
    assert isinstance(answer, Checked)
    assert answer.token == ""
    assert answer.reason.startswith("wanted a token of 1 to 255 characters")


async def test_a_site_that_cannot_remember_its_servers_term_comes_back_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: asyncio.Queue[str] = asyncio.Queue()

    def watched() -> None:
        try:
            registered()
        except StorageFailed as exc:
            outcomes.put_nowait(exc.what)
            raise
        outcomes.put_nowait("registered")

    async with new_pair(tmp_path) as pair, asyncio.timeout(40):
        state, registered = pair.site.workspace.state, pair.site.registered
        monkeypatch.setattr(pair.site, "registered", watched)
        async with pair.server, pair.site:
            shutil.rmtree(state)
            assert await outcomes.get() == "No such file or directory"
            state.mkdir()
            while await outcomes.get() != "registered":
                continue

            assert (state / "term_seen").read_text() == str(pair.server.acceptor.term)
            assert pair.site.link.is_up


async def test_a_message_that_a_server_may_not_say_to_a_site_is_refused(pair: Pair) -> None:
    """The error that is raised drops the connection."""
    for said in (Reply("1"), Offer("run", "task", None), Command("1", "list_jobs")):
        with pytest.raises(MessageError, match=f"{type(said).__name__} is nothing that a server says to a site"):
            ServerEvents(pair.site).message(pair.site.link, said, memoryview(b""))


async def test_a_long_reason_is_cut_before_a_job_process_hears_it() -> None:
    heard: list[Any] = []
    program = SimpleNamespace(over=heard.append, feed=heard.append)
    events = ServerEvents(cast("Site", SimpleNamespace(runs={"r": program})))
    link = cast("Link", SimpleNamespace(peer=Peer("server", "server", "")))

    for said in (AbortRun("r", "x" * 10_000), AbortTask("r", "t", "x" * 10_000)):
        events.message(link, said, memoryview(b""))

    short = "x" * 8000 + "…(+2000)"
    assert heard == [short, TaskAborted("t", short)]


async def test_what_has_not_started_is_given_back_when_the_link_is_lost(pair: Pair) -> None:
    """The server begins anew when the link is back, perhaps with another job."""
    pair.site.check(Check("run", {}))
    assert pair.resources.available() == {"gpu": 0}

    pair.site.link.drop(ConnectionReplaced("cut by the test"))

    assert pair.resources.available() == {"gpu": 1}


async def test_a_sync_that_is_too_large_costs_no_link_and_keeps_no_run_from_being_removed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(message: Message, *_body: bytes) -> None:
        if isinstance(message, Sync):
            raise FrameTooLarge("wanted a header of at most 4,194,304 bytes")

    monkeypatch.setattr(pair.site.link, "send", refuse)
    folder = pair.site.workspace.run("run").create()
    (pair.site.workspace.outbox / "run").mkdir(parents=True)

    pair.site.registered()
    await pair.site._run_ended("run")

    assert not folder.inbox.exists()
    assert not (pair.site.workspace.outbox / "run").exists()


async def test_a_run_is_started_once_however_often_that_is_said_and_ends_when_it_is_cancelled(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await pair.server.jobs.take_in(JobFolder(tmp_path / "job", [training(100_000)]).write())
    async with asyncio.timeout(40):
        await pair.server.jobs.wait_until(lambda: bool(pair.server.jobs.report(pair.server.jobs.table.find(job.id)).rounds))
    program, said = pair.site.runs[job.id], list[Message]()
    with monkeypatch.context() as patch:
        patch.setattr(pair.site.link, "send", said.append)
        pair.site.start_run(StartRun(job.id, "token", ["site-1"], 0))
    assert said == [Started(job.id)]
    assert pair.site.runs == {job.id: program}

    pair.site.cancel(Cancel(job.id, "token"))
    assert pair.resources.available() == {"gpu": 0}  # not before its process is gone
    async with asyncio.timeout(40):
        await program.ended.wait()
    assert pair.resources.available() == {"gpu": 1}
