"""Jobs side by side on a real server and real sites: resources, a lost StartRun, a scheduler of the operator's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.components.resources.counted import ListResourceManager
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.messages import Message
from sundog.kernel.operator_roles import Scheduler
from sundog.kernel.transport import FrameTooLarge
from sundog.kits.protocol.messages import StartRun
from sundog.kits.protocol.records import Status
from sundog.kits.server.server import Server
from sundog.kits.site.site import Site
from sundog.kits.supervisor.kit_parts import KitParts
from sundog.kits.supervisor.means import Means, open_means
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.kit import ServerKit, SiteKit
from sundog.transports.link.carrier import ConnectionReplaced

from ...e2e.jobs import JobFolder, custom, executor, training

STAYING = """
import signal

from sundog import Executor


class Staying(Executor):
    def execute(self, task, ctx):
        while True:
            ctx.abort.check()
            signal.sigtimedwait([signal.SIGUSR1], 0.02)
"""
GPUS = [0, 1, 2, 3]


class Recorder(ListResourceManager):
    """Four GPUs, and how many of them were in use after each change."""

    def __init__(self) -> None:
        super().__init__({"gpu": list(GPUS)})
        self.in_use: dict[str, list[int]] = {}
        self.samples: list[int] = []

    def allocate(self, token: str) -> Mapping[str, Any]:
        allocated = super().allocate(token)
        self.in_use[token] = allocated["gpu"]
        self._sample()
        return allocated

    def free(self, token: str) -> None:
        super().free(token)
        self.in_use.pop(token, None)
        self._sample()

    def _sample(self) -> None:
        units = [unit for held in self.in_use.values() for unit in held]
        assert len(units) == len(set(units)), self.in_use
        self.samples.append(len(units))


class Clinic:
    """A server and two sites with four GPUs each."""

    def __init__(self, root: Path, means: Means, scheduler: Scheduler) -> None:
        self.root = root
        address = f"inproc://scheduling-{id(self)}"
        kit = ServerKit(project="clinic", listen=address, admin_listen=address)
        self.server = Server(self._workspace("server"), kit, means, launcher=ProcessLauncher(), scheduler=scheduler)
        self.table = self.server.jobs.table
        self.gpus = {name: Recorder() for name in ("site-1", "site-2")}
        self.sites = [
            Site(
                self._workspace(name), SiteKit(project="clinic", name=name, endpoints=[address]), means,
                launcher=ProcessLauncher(), resources=gpus,
            )
            for name, gpus in self.gpus.items()
        ]  # fmt: skip

    def _workspace(self, name: str) -> Workspace:
        (self.root / name / "startup").mkdir(parents=True)
        return Workspace(self.root / name).create()

    def job(self, name: str, *, gpus: int) -> Path:
        """A job whose tasks last until it is aborted."""
        job = JobFolder(self.root / name, [training(1)], [executor(custom("Staying"))], code=STAYING)
        job.meta.update(name=name, min_clients=2, resource_spec={site: {"gpu": gpus} for site in self.gpus})
        return job.write()

    async def submit(self, name: str, submitter: str = "", *, gpus: int = 2) -> str:
        return (await self.server.jobs.take_in(self.job(name, gpus=gpus), submitter=submitter)).id

    async def until(self, job_id: str, status: Status, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            await self.server.jobs.wait_until(lambda: self.table.find(job_id).status is status)

    async def abort(self, job_id: str) -> None:
        await self.server.abort_job(self.table.find(job_id), "by the test")


async def open_clinic(stack: AsyncExitStack, root: Path, scheduler: Scheduler) -> Clinic:
    clinic = Clinic(root, await stack.enter_async_context(open_means()), scheduler)
    await stack.enter_async_context(clinic.server)
    for site in clinic.sites:
        await stack.enter_async_context(site)
    async with asyncio.timeout(20):
        await clinic.server.jobs.wait_until(lambda: len(clinic.server.dispatcher.free) == len(clinic.sites))
    return clinic


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Clinic]:
    async with AsyncExitStack() as stack:
        yield await open_clinic(stack, tmp_path, FifoScheduler())


async def test_jobs_run_side_by_side_as_far_as_the_resources_of_their_sites_go(clinic: Clinic) -> None:
    """T053."""
    first, second, third = [await clinic.submit(name, gpus=2) for name in ("first", "second", "third")]
    await clinic.until(first, Status.RUNNING)
    await clinic.until(second, Status.RUNNING)
    async with asyncio.timeout(20):
        await clinic.server.jobs.wait_until(lambda: "wanted 2 gpu, 0 of 4 are free" in clinic.table.find(third).waits_for)

    await clinic.abort(first)
    await clinic.until(third, Status.RUNNING, seconds=3)

    async with asyncio.timeout(20):
        await clinic.server.jobs.wait_until(lambda: not clinic.server.dispatcher.is_starting(third, "site-1"))
    for gpus in clinic.gpus.values():
        assert max(gpus.samples) == len(GPUS)
        assert sorted(unit for held in gpus.in_use.values() for unit in held) == GPUS


async def test_a_start_run_that_was_lost_with_the_link_is_said_again(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site has its app and waits for nothing else; neither the run nor the site's part in it ends."""
    link, send = clinic.server.sites()["site-2"], clinic.server.sites()["site-2"].send
    lost = asyncio.Event()

    def lose(message: Message, *body: bytes) -> None:
        if isinstance(message, StartRun) and not lost.is_set():
            lost.set()
            link.drop(ConnectionReplaced("cut by the test"))
            return
        send(message, *body)

    monkeypatch.setattr(link, "send", lose)
    job_id = await clinic.submit("job")

    async with asyncio.timeout(20):
        await lost.wait()
        await clinic.server.jobs.wait_until(
            lambda: job_id in clinic.sites[1].runs and not clinic.server.dispatcher.is_starting(job_id, "site-2")
        )
        await clinic.server.jobs.wait_until(lambda: "site-2" in clinic.server.runs[job_id].run.connected)

    assert clinic.table.find(job_id).status is Status.RUNNING
    assert clinic.server.runs[job_id].run.excluded == {}
    assert [len(held) for held in clinic.gpus["site-2"].in_use.values()] == [2]


async def test_a_run_that_a_site_cannot_be_told_to_start_leaves_no_program(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    link, send = clinic.server.sites()["site-2"], clinic.server.sites()["site-2"].send

    def refuse(message: Message, *body: bytes) -> None:
        if isinstance(message, StartRun):
            raise FrameTooLarge("too large")
        send(message, *body)

    monkeypatch.setattr(link, "send", refuse)
    job_id = await clinic.submit("job")

    await clinic.until(job_id, Status.EXECUTION_EXCEPTION)
    assert clinic.table.find(job_id).reason.startswith("[SD-2004]")
    assert clinic.server.runs == {}


async def test_a_scheduler_knows_what_the_sites_have_free(clinic: Clinic) -> None:
    assert clinic.server.dispatcher.free == {"site-1": {"gpu": 4}, "site-2": {"gpu": 4}}

    job_id = await clinic.submit("job", gpus=3)
    await clinic.until(job_id, Status.RUNNING)
    assert clinic.server.dispatcher.free == {"site-1": {"gpu": 1}, "site-2": {"gpu": 1}}

    await clinic.abort(job_id)
    async with asyncio.timeout(20):
        await clinic.server.jobs.wait_until(lambda: clinic.server.dispatcher.free == {"site-1": {"gpu": 4}, "site-2": {"gpu": 4}})


async def test_a_job_whose_files_were_changed_in_the_store_is_not_started(clinic: Clinic) -> None:
    large, small = await clinic.submit("large", gpus=4), await clinic.submit("small", gpus=1)
    await clinic.until(large, Status.RUNNING)
    config = clinic.server.jobs.folder(small) / "app" / "config" / "config_fed_client.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=7))

    await clinic.abort(large)
    await clinic.until(small, Status.EXECUTION_EXCEPTION)

    reason = clinic.table.find(small).reason
    assert "SD-4022" in reason
    assert f"job {small}" in reason
    assert "app/config/config_fed_client.json is changed" in reason


DOCUMENTED = Path(__file__).resolve().parents[3] / "docs/plugins.md"


async def test_the_fair_share_of_the_documentation_takes_turns_among_submitters(
    tmp_path: Path, operator_module: Callable[[str], None]
) -> None:
    """An operator's scheduler, named by its path in the kit's components."""
    code = DOCUMENTED.read_text().split("### Write a scheduler")[1].split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 20
    operator_module(code)
    parts = KitParts([{"id": "scheduler", "path": "clinic_plugins.FairShare"}], "fed_server.json")
    async with AsyncExitStack() as stack:
        clinic = await open_clinic(stack, tmp_path, parts.take(Scheduler, "FifoScheduler"))
        names = {await clinic.submit("first", "bob", gpus=4): "first"}
        await clinic.until(next(iter(names)), Status.RUNNING)
        for name, submitter in [("a1", "alice"), ("a2", "alice"), ("a3", "alice"), ("b1", "bob"), ("b2", "bob")]:
            names[await clinic.submit(name, submitter, gpus=4)] = name
        started: list[str] = []

        def running() -> str:
            return next((names[job.id] for job in clinic.table.in_state(Status.RUNNING)), "")

        while len(started) < len(names):
            async with asyncio.timeout(20):
                await clinic.server.jobs.wait_until(lambda: bool(running()))
            started.append(running())
            await clinic.abort(next(job_id for job_id, name in names.items() if name == started[-1]))

    assert started == ["first", "a1", "b1", "a2", "b2", "a3"]
