"""How a waiting job comes to run, and what becomes of it when a site, a job or a scheduler is not as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message
from sundog.kernel.operator_roles import RunningJob, Scheduler, WaitingJob
from sundog.kits.protocol.messages import Cancel, Check, Checked, Deploy, Deployed, StartRun
from sundog.kits.protocol.records import Status
from sundog.kits.server.dispatch import Dispatched, Dispatcher, Prepared
from sundog.kits.workspace.job_folder import read_job
from sundog.kits.workspace.job_meta import JobMeta
from sundog.kits.workspace.job_state import Job, JobTable
from sundog.kits.workspace.journal import Journal
from sundog.kits.workspace.manifest import Limits, manifest_of
from sundog.transports.link import Writer
from sundog.transports.link.link import Link

JOB = Path(__file__).resolve().parents[2] / "data/jobs/valid_job"


class SiteLink:
    """A site's link: it answers at once, unless the test says otherwise."""

    def __init__(self, name: str, answer: Callable[[str, Message], None]) -> None:
        self.peer = SimpleNamespace(name=name)
        self.transfers = SimpleNamespace(offer=lambda *_: None, withdraw=lambda *_: None)
        self.heard: list[Message] = []
        self._answer = answer

    def send(self, message: Message, *_body: bytes) -> None:
        self.heard.append(message)
        asyncio.get_running_loop().call_soon(self._answer, self.peer.name, message)


class Office:
    """The server's jobs and sites, as the dispatcher sees them."""

    def __init__(self, table: JobTable) -> None:
        self.table = table
        self.links: dict[str, SiteLink] = {}
        self.started: list[Dispatched] = []
        self.answers: dict[type[Message], Callable[[str, Message], None]] = {
            Check: lambda site, message: self.dispatcher.answered(site, Checked(cast("Check", message).run, f"token of {site}")),
            Deploy: lambda site, message: self.dispatcher.answered(site, Deployed(cast("Deploy", message).run)),
        }
        self.order: Callable[[Sequence[WaitingJob]], list[str]] = lambda waiting: [job.id for job in waiting]
        self._moved = asyncio.Condition()
        office = self

        class Asking(Scheduler):
            def order(
                self, waiting: Sequence[WaitingJob], running: Sequence[RunningJob], free: Mapping[str, Mapping[str, Any]]
            ) -> list[str]:
                return office.order(waiting)

        def links() -> dict[str, Link]:
            return cast("dict[str, Link]", dict(self.links))

        self.dispatcher = Dispatcher(self, Asking(), links=links, deploy_here=self.deploy_here, start=self.start)

    def add(self, *sites: str) -> None:
        for site in sites:
            self.links[site] = SiteLink(site, self._hear)
        self.dispatcher.look()

    def _hear(self, site: str, message: Message) -> None:
        if type(message) in self.answers:
            self.answers[type(message)](site, message)

    def submit(self) -> str:
        meta = {"name": "j", "deploy_map": {"app": ["@ALL"]}, "min_clients": 2}
        job, _ = self.table.submit(meta, request="")
        self.table._by_request.clear()
        self.dispatcher.look()
        return job.id

    async def deploy_here(self, dispatched: Dispatched) -> None:
        return

    def start(self, dispatched: Dispatched) -> None:
        self.started.append(dispatched)

    def meta(self, job: Job) -> JobMeta:
        return msgspec.convert(dict(job.meta), JobMeta)

    async def prepare(self, job: Job) -> Prepared:
        return Prepared(read_job(JOB), manifest_of(JOB, Limits(100, 10**6)))

    def change(self, job_id: str, status: Status, reason: str = "", **extra: Any) -> asyncio.Future[None]:
        durable = self.table.change(job_id, status, reason, **extra)
        self.dispatcher.look()
        self.moved()
        return durable

    def moved(self) -> None:
        asyncio.ensure_future(self._tell())  # noqa: RUF006  # over before the test is

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._moved:
            await self._moved.wait_for(condition)

    def heard(self, site: str, kind: type[Message]) -> list[Message]:
        return [message for message in self.links[site].heard if isinstance(message, kind)]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Writer() as writer:
        office = Office(JobTable().open(Journal(tmp_path / "journal", writer)))
        running = asyncio.create_task(office.dispatcher.run())
        yield office
        assert not running.done(), running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_check_deploy_start(office: Office) -> None:
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: bool(office.started))

    assert [type(message) for message in office.links["site-1"].heard] == [Check, Deploy, StartRun]
    assert office.heard("site-2", StartRun) == [StartRun(job_id, "token of site-2", ["site-1", "site-2"], 0)]
    assert office.started[0].tokens == {"site-1": "token of site-1", "site-2": "token of site-2"}


async def test_a_job_waits_for_sites_and_starts_when_they_come(office: Office) -> None:
    office.add("site-1")
    job_id = office.submit()
    await office.until(lambda: bool(office.table.find(job_id).waits_for))
    assert "1 of the 2 sites needed" in office.table.find(job_id).waits_for

    office.add("site-2")

    await office.until(lambda: bool(office.started))


async def test_who_has_no_room_is_named_and_the_others_get_their_token_back(office: Office) -> None:
    said = {"site-1": ("t", ""), "site-2": ("", "no gpu is free")}
    office.answers[Check] = lambda site, message: office.dispatcher.answered(site, Checked(cast("Check", message).run, *said[site]))
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: bool(office.table.find(job_id).waits_for))

    assert office.table.find(job_id).waits_for.endswith("(site-2: no gpu is free)")
    assert office.heard("site-1", Cancel) == [Cancel(job_id, "t")]


async def test_a_site_that_is_lost_while_it_gets_its_app_makes_the_job_wait_again(office: Office) -> None:
    """It is not the job's fault."""

    def lose(site: str, _message: Message) -> None:
        office.links.pop(site, None)
        office.dispatcher.site_lost(site)

    deploy = office.answers[Deploy]
    office.answers[Deploy] = lambda site, message: lose(site, message) if site == "site-2" else deploy(site, message)
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: "1 of the 2" in office.table.find(job_id).waits_for)
    assert office.table.find(job_id).status is Status.SUBMITTED
    assert office.heard("site-1", Cancel) == [Cancel(job_id, "token of site-1")]

    office.answers[Deploy] = deploy
    office.add("site-2")

    await office.until(lambda: bool(office.started))


async def test_a_site_that_cannot_take_the_app_ends_the_job_with_its_reason(office: Office) -> None:
    failure = Failure("SD-2121", "no space", site="site-2")
    office.answers[Deploy] = lambda site, message: office.dispatcher.answered(site, Deployed(cast("Deploy", message).run, failure))
    office.add("site-1", "site-2")
    job_id = office.submit()

    await office.until(lambda: office.table.find(job_id).status.is_end)

    assert (office.table.find(job_id).status, office.table.find(job_id).reason) == (Status.EXECUTION_EXCEPTION, str(failure))
    assert office.heard("site-1", Cancel) == [Cancel(job_id, "token of site-1")]


async def test_a_job_that_is_aborted_while_it_is_deployed_does_not_start(office: Office) -> None:
    deploy = office.answers[Deploy]

    def abort_first(site: str, message: Message) -> None:
        if site == "site-1":
            office.change(cast("Deploy", message).run, Status.ABORTED, "by alice")
        deploy(site, message)

    office.answers[Deploy] = abort_first
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: office.table.find(job_id).status.is_end)
    other = office.submit()
    office.answers[Deploy] = deploy
    await office.until(lambda: bool(office.started))

    assert [dispatched.job.id for dispatched in office.started] == [other]
    assert office.heard("site-1", Cancel) == [Cancel(job_id, "token of site-1")]


async def test_a_job_that_cannot_be_read_any_more_is_its_own_end_only(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = office.prepare
    bad: list[str] = []

    async def damaged(job: Job) -> Prepared:
        if job.id in bad:
            raise OSError("Input/output error")
        return await prepare(job)

    monkeypatch.setattr(office, "prepare", damaged)
    bad.append(office.submit())
    good = office.submit()
    office.add("site-1", "site-2")

    await office.until(lambda: bool(office.started))

    assert office.table.find(bad[0]).status is Status.EXECUTION_EXCEPTION
    assert office.started[0].job.id == good


async def test_a_run_that_cannot_begin_at_the_server_begins_nowhere(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(dispatched: Dispatched) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(office.dispatcher, "_start", full)
    office.add("site-1", "site-2")
    job_id = office.submit()

    await office.until(lambda: office.table.find(job_id).status.is_end)

    assert office.table.find(job_id).status is Status.EXECUTION_EXCEPTION
    assert office.heard("site-1", StartRun) == []
    assert office.heard("site-1", Cancel) == [Cancel(job_id, "token of site-1")]


async def test_a_scheduler_that_raises_holds_up_the_jobs_but_not_the_server(office: Office) -> None:
    order = office.order

    def broken(waiting: Sequence[WaitingJob]) -> list[str]:
        raise ValueError("no idea")

    office.order = broken
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: bool(office.table.find(job_id).waits_for))
    assert "ValueError: no idea" in office.table.find(job_id).waits_for

    office.order = order
    office.dispatcher.look()

    await office.until(lambda: bool(office.started))
