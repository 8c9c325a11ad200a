"""How a waiting job comes to run, and what becomes of it when a site, a job or a scheduler is not as it should be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message
from sundog.kernel.operator_roles import RunningJob, Scheduler, WaitingJob
from sundog.kernel.transport import FrameTooLarge
from sundog.kits.protocol.messages import Cancel, Check, Checked, Deploy, Deployed, Started, StartRun
from sundog.kits.protocol.records import Status
from sundog.kits.server.dispatch import Dispatcher
from sundog.kits.server.site_calls import Dispatched, Prepared, SiteCalls
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
        self.told: list[tuple[str, Started]] = []
        self.broken: list[tuple[str, str]] = []
        """(run, code of its failure)."""
        self.answers: dict[type[Message], Callable[[str, Message], None]] = {
            Check: lambda site, message: self.dispatcher.answered(site, Checked(cast("Check", message).run, f"token of {site}")),
            Deploy: lambda site, message: self.dispatcher.answered(site, Deployed(cast("Deploy", message).run)),
            StartRun: lambda site, message: self.dispatcher.answered(site, Started(cast("StartRun", message).run)),
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

        self.dispatcher = Dispatcher(
            self, Asking(), sites=SiteCalls(links), deploy_here=self.deploy_here, start=self.start, started=self.site_started
        )

    def add(self, *sites: str) -> None:
        for site in sites:
            self.links[site] = SiteLink(site, self._hear)
        self.dispatcher.look()

    def _hear(self, site: str, message: Message) -> None:
        if type(message) in self.answers:
            self.answers[type(message)](site, message)

    def submit(self, *sites: str, **extra: Any) -> str:
        apps = {"app": ["server", *sites]} if sites else {"app": ["@ALL"]}
        meta = {"name": "j", "deploy_map": apps, "min_clients": len(sites) or 2}
        job, _ = self.table.submit(meta, request="", extra=extra)
        self.table._by_request.clear()
        self.dispatcher.look()
        return job.id

    async def deploy_here(self, dispatched: Dispatched) -> None:
        return

    def start(self, dispatched: Dispatched) -> None:
        self.started.append(dispatched)
        self.change(dispatched.job.id, Status.RUNNING)

    def break_run(self, job_id: str, failure: Failure) -> bool:
        if not any(dispatched.job.id == job_id for dispatched in self.started):
            return False
        self.broken.append((job_id, failure.code))
        self.moved()
        return True

    def site_started(self, site: str, started: Started) -> None:
        self.told.append((site, started))
        self.moved()

    def waiting(self) -> list[Job]:
        return self.table.in_state(Status.SUBMITTED)

    def meta(self, job: Job) -> JobMeta:
        return msgspec.convert(dict(job.meta), JobMeta)

    async def prepare(self, job: Job) -> Prepared:
        folder = read_job(JOB)
        for_all = {name: replace(app, sites=("@ALL",)) for name, app in folder.apps.items()}
        return Prepared(replace(folder, apps=for_all), manifest_of(JOB, Limits(100, 10**6)))

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
    assert office.started[0].sites == ("site-1", "site-2")


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


async def test_a_run_that_has_begun_ends_by_itself_when_a_site_cannot_be_told_to_start(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's state is the run's to write: a job that has ended has no program."""
    office.add("site-1", "site-2")
    send = office.links["site-2"].send

    def refuse(message: Message, *body: bytes) -> None:
        if isinstance(message, StartRun):
            raise FrameTooLarge("5 MB")
        send(message, *body)

    monkeypatch.setattr(office.links["site-2"], "send", refuse)
    job_id = office.submit()

    await office.until(lambda: bool(office.broken))

    assert office.broken == [(job_id, "SD-2004")]
    assert office.table.find(job_id).status is Status.RUNNING


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


# --- jobs side by side ------------------------------------------------------------------------------------------------


class Held:
    """Answers of sites that are kept back: until the test lets them go."""

    def __init__(self, office: Office, kind: type[Message], is_held: Callable[[str, str], bool]) -> None:
        self._answer = office.answers[kind]
        self._is_held = is_held
        self._office = office
        self.waiting: list[tuple[str, Any]] = []
        office.answers[kind] = self._hear

    def _hear(self, site: str, message: Any) -> None:
        if self._is_held(site, message.run):
            self.waiting.append((site, message))
            self._office.moved()
        else:
            self._answer(site, message)

    def let_go(self) -> None:
        self._is_held = lambda site, run: False
        for site, message in self.waiting:
            self._answer(site, message)
        self.waiting.clear()


async def test_a_slow_deployment_holds_up_no_other_job(office: Office) -> None:
    """Neither at other sites nor at the same one."""
    slow: list[str] = []
    held = Held(office, Deploy, lambda site, run: run in slow)
    office.add("site-1", "site-2")
    slow.append(office.submit("site-1"))
    await office.until(lambda: bool(held.waiting))

    others = {office.submit("site-2"), office.submit("site-1")}
    await office.until(lambda: len(office.started) == 2)

    assert {dispatched.job.id for dispatched in office.started} == others
    assert office.table.find(slow[0]).status is Status.DISPATCHED
    held.let_go()
    await office.until(lambda: len(office.started) == 3)


async def test_a_waiting_job_that_is_deleted_while_another_is_asked_about_stops_nobody(office: Office) -> None:
    refused: list[str] = []
    check = office.answers[Check]

    def refuse_the_first(site: str, message: Message) -> None:
        run = cast("Check", message).run
        if run in refused:
            office.dispatcher.answered(site, Checked(run, "", "no room"))
        else:
            check(site, message)

    office.answers[Check] = refuse_the_first
    held = Held(office, Check, lambda site, run: run in refused)
    office.add("site-1")
    refused.append(office.submit("site-1"))
    second, third = office.submit("site-1"), office.submit("site-1")
    await office.until(lambda: bool(held.waiting))

    office.table.change(second, Status.ABORTED, "by alice")  # no look is taken: that alone would set it right again
    office.table.delete(second, "alice")
    held.let_go()
    await office.until(lambda: bool(office.started))

    assert [dispatched.job.id for dispatched in office.started] == [third]


@pytest.mark.parametrize("kind", [Check, Deploy])
async def test_a_job_that_is_aborted_and_deleted_while_a_site_is_slow_gives_back_what_it_holds_at_once(
    office: Office, kind: type[Message]
) -> None:
    held = Held(office, kind, lambda site, run: site == "site-2")
    office.add("site-1", "site-2")
    gone = office.submit("site-1", "site-2")
    await office.until(lambda: bool(held.waiting))

    office.change(gone, Status.ABORTED, "by alice")
    office.table.delete(gone, "alice")
    office.dispatcher.look()
    other = office.submit("site-1")
    await office.until(lambda: bool(office.started))

    assert office.started[0].job.id == other
    assert office.heard("site-1", Cancel) == [Cancel(gone, "token of site-1")]


async def test_a_slow_check_holds_up_only_those_who_want_the_same_site_in_their_order(office: Office) -> None:
    held = Held(office, Check, lambda site, run: site == "site-1")
    office.add("site-1", "site-2", "site-3")
    first = office.submit("site-1", "site-2")
    second = office.submit("site-1", "site-3")
    third = office.submit("site-3")  # it does not overtake the second
    other = office.submit("site-2")
    await office.until(lambda: len(office.started) == 1)

    assert office.started[0].job.id == other
    assert [message.run for message in cast("list[Check]", office.heard("site-3", Check))] == []

    held.let_go()
    await office.until(lambda: len(office.started) == 4)
    assert [message.run for message in cast("list[Check]", office.heard("site-1", Check))] == [first, second]
    assert [message.run for message in cast("list[Check]", office.heard("site-3", Check))] == [second, third]


async def test_a_job_that_was_refused_because_of_one_that_then_gives_back_is_tried_again(office: Office) -> None:
    """No other event is needed, and each is asked about no more often than that."""
    holder: list[str] = []

    def check(site: str, message: Message) -> None:
        run = cast("Check", message).run
        if site == "site-1" and holder and holder[0] != run:
            office.dispatcher.answered(site, Checked(run, "", f"held by {holder[0]}"))
            return
        if site == "site-1":
            holder.append(run)
        office.dispatcher.answered(site, Checked(run, f"token of {site}") if site == "site-1" else Checked(run, "", "no room"))

    office.answers[Check] = check
    office.answers[Cancel] = lambda site, message: holder.clear()
    slow = Held(office, Check, lambda site, run: site == "site-2")
    office.add("site-1", "site-2")
    first = office.submit("site-1", "site-2")
    await office.until(lambda: bool(slow.waiting))
    second = office.submit("site-1")
    await office.until(lambda: "held by" in office.table.find(second).waits_for)

    slow.let_go()
    await office.until(lambda: bool(office.started))

    assert office.started[0].job.id == second
    await office.until(lambda: "no room" in office.table.find(first).waits_for)
    assert len(office.heard("site-2", Check)) <= 3  # at the beginning, and as the second is dispatched and runs


async def test_a_check_that_is_answered_too_late_is_given_back_and_the_job_is_tried_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sundog.kits.server.site_calls.CHECK_SECONDS", 0.01)
    held = Held(office, Check, lambda site, run: True)
    office.add("site-1")
    job_id = office.submit("site-1")
    await office.until(lambda: "no answer to Check" in office.table.find(job_id).waits_for)
    monkeypatch.setattr("sundog.kits.server.site_calls.CHECK_SECONDS", 15)
    office.dispatcher.look()
    await office.until(lambda: "has not answered the Check before" in office.table.find(job_id).waits_for)
    assert len(office.heard("site-1", Check)) == 1

    held.let_go()
    await office.until(lambda: bool(office.started))

    assert [type(message) for message in office.links["site-1"].heard] == [Check, Cancel, Check, Deploy, StartRun]


async def test_a_site_that_answers_each_check_twice_makes_nobody_be_asked_again(office: Office) -> None:
    def refuse_twice(site: str, message: Message) -> None:
        for _ in range(2):
            office.dispatcher.answered(site, Checked(cast("Check", message).run, "", "no room"))

    office.answers[Check] = refuse_twice
    office.add("site-1")
    job_id = office.submit("site-1")
    await office.until(lambda: "no room" in office.table.find(job_id).waits_for)
    for _ in range(100):
        await asyncio.sleep(0)  # turns of the loop

    assert len(office.heard("site-1", Check)) == 1


async def test_reservations_are_renewed_while_a_job_is_deployed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.kits.server.dispatch.RENEW_SECONDS", 0.01)
    held = Held(office, Deploy, lambda site, run: True)
    check = office.answers[Check]

    def let_go_at_the_third(site: str, message: Message) -> None:
        check(site, message)
        if len(office.heard(site, Check)) == 3:
            held.let_go()

    office.answers[Check] = let_go_at_the_third
    office.add("site-1")
    office.submit("site-1")

    await office.until(lambda: bool(office.started))

    assert [type(message) for message in office.links["site-1"].heard][:2] == [Check, Deploy]


async def test_a_reservation_that_ran_out_in_a_slow_deployment_makes_the_job_wait_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sundog.kits.server.dispatch.RENEW_SECONDS", 0.01)
    held = Held(office, Deploy, lambda site, run: True)
    check = office.answers[Check]

    def refuse_later(site: str, message: Message) -> None:
        if len(office.heard(site, Check)) == 1:
            check(site, message)
        else:
            office.dispatcher.answered(site, Checked(cast("Check", message).run, "", "another has it"))

    office.answers[Check] = refuse_later
    office.add("site-1")
    job_id = office.submit("site-1")
    await office.until(lambda: "another has it" in office.table.find(job_id).waits_for)

    assert office.table.find(job_id).status is Status.SUBMITTED
    assert held.waiting
    assert office.started == []


# --- StartRun and a lost link -----------------------------------------------------------------------------------------


async def lose_at_start(office: Office) -> str:
    """A job that runs, and at whose second site the link was lost before it said Started."""
    held = Held(office, StartRun, lambda site, run: site == "site-2")
    office.add("site-1", "site-2")
    job_id = office.submit()
    await office.until(lambda: bool(held.waiting))
    held.waiting.clear()
    held.let_go()
    office.links.pop("site-2")
    office.dispatcher.site_lost("site-2")
    return job_id


async def test_a_site_whose_link_was_lost_with_start_run_is_brought_to_it_when_it_is_back(office: Office) -> None:
    job_id = await lose_at_start(office)
    assert office.dispatcher.is_starting(job_id, "site-2")
    assert not office.dispatcher.is_starting(job_id, "site-1")

    office.add("site-2")
    office.dispatcher.synced("site-2", [], {})
    await office.until(lambda: bool(office.told))

    assert office.told == [("site-2", Started(job_id))]
    assert [type(message) for message in office.links["site-2"].heard] == [Check, Deploy, StartRun]
    assert not office.dispatcher.is_starting(job_id, "site-2")
    assert len(office.started) == 1


async def test_a_site_that_had_heard_start_run_is_not_told_again(office: Office) -> None:
    job_id = await lose_at_start(office)

    office.add("site-2")
    office.dispatcher.synced("site-2", [job_id], {})
    await office.until(lambda: not office.dispatcher.is_starting(job_id, "site-2"))

    assert office.links["site-2"].heard == []
    assert office.told == []


async def test_a_site_that_has_no_room_when_it_is_back_is_asked_again_when_something_changes(office: Office) -> None:
    job_id = await lose_at_start(office)
    check = office.answers[Check]
    office.answers[Check] = lambda site, message: office.dispatcher.answered(site, Checked(cast("Check", message).run, "", "no gpu"))
    office.add("site-2")
    office.dispatcher.synced("site-2", [], {})
    office.answers[Cancel] = check
    await office.until(lambda: len(office.heard("site-2", Check)) == 1)

    office.answers[Check] = check
    office.dispatcher.synced("site-2", [], {"gpu": 1})
    await office.until(lambda: bool(office.told))

    assert office.told == [("site-2", Started(job_id))]


async def test_a_run_that_has_ended_waits_for_no_lost_site(office: Office) -> None:
    job_id = await lose_at_start(office)

    office.change(job_id, Status.ABORTED)
    await office.until(lambda: not office.dispatcher.is_starting(job_id, "site-2"))
    office.add("site-2")
    office.dispatcher.synced("site-2", [], {})
    other = office.submit("site-2")
    await office.until(lambda: len(office.started) == 2)

    assert [message.run for message in cast("list[Check]", office.heard("site-2", Check))] == [other]


# --- what a scheduler sees --------------------------------------------------------------------------------------------


async def test_a_scheduler_sees_whole_jobs_and_what_each_connected_site_has_free(office: Office) -> None:
    seen: list[tuple[Sequence[WaitingJob], Sequence[RunningJob], Mapping[str, Mapping[str, Any]]]] = []

    class Watching(Scheduler):
        def order(self, waiting: Sequence[WaitingJob], running: Sequence[RunningJob], free: Mapping[str, Mapping[str, Any]]) -> list[str]:
            seen.append((list(waiting), list(running), dict(free)))
            return [job.id for job in waiting]

    office.dispatcher._scheduler = Watching()
    office.dispatcher.free_now("site-1", {"gpu": 2})
    office.dispatcher.free_now("site-9", {"gpu": 9})
    office.add("site-1", "site-2")
    job_id = office.submit("site-1", "site-2", submitter="alice")
    await office.until(lambda: bool(office.started))

    waiting, _, free = next(look for look in seen if look[0])
    assert waiting[0].id == job_id
    assert (waiting[0].submitter, waiting[0].sites, waiting[0].min_sites, waiting[0].priority) == ("alice", ("site-1", "site-2"), 2, 0)
    assert waiting[0].submitted_seconds == office.table.find(job_id).submitted_seconds
    assert free == {"site-1": {"gpu": 2}, "site-2": {}}
    running = next(look[1] for look in seen if look[1])  # asked again as soon as the job is tried
    assert (running[0].id, running[0].sites, running[0].started_seconds) == (job_id, ("site-1", "site-2"), None)


@pytest.mark.parametrize("hear", ["free_now", "synced"])
async def test_of_what_a_site_says_is_free_a_scheduler_sees_numbers_and_lists_of_units_only(office: Office, hear: str) -> None:
    kept = {"gpu": 2, "memory": 1.5, "slots": [], "units": [0, "a"], "n" * 64: 0}
    wrong = {
        "nan": math.nan, "inf": math.inf, "minus": -1, "flag": True, "text": "1", "none": None, "map": {"a": 1}, "deep": [[1]],
        "long": [0] * 1025, "wide": ["x" * 65], "n" * 65: 1,
    }  # fmt: skip
    said = {**wrong, **kept}

    office.dispatcher.free_now("site-1", said) if hear == "free_now" else office.dispatcher.synced("site-1", [], said)

    assert office.dispatcher.free == {"site-1": kept}


async def test_a_site_says_of_at_most_64_resources_how_many_are_free(office: Office) -> None:
    office.dispatcher.free_now("site-1", {f"r{number}": number for number in range(100)})

    assert office.dispatcher.free == {"site-1": {f"r{number}": number for number in range(64)}}


async def test_a_scheduler_that_waits_for_free_resources_is_asked_when_they_change(office: Office) -> None:
    office.order = lambda waiting: []
    office.add("site-1")
    office.submit("site-1")
    asked = asyncio.Event()

    def order(waiting: Sequence[WaitingJob]) -> list[str]:
        asked.set()
        return [job.id for job in waiting]

    office.order = order
    office.dispatcher.free_now("site-1", {"gpu": 1})

    await office.until(lambda: bool(office.started))
    assert asked.is_set()


async def test_a_job_that_was_refused_is_not_tried_again_for_a_hint(office: Office) -> None:
    office.answers[Check] = lambda site, message: office.dispatcher.answered(site, Checked(cast("Check", message).run, "", "no room"))
    office.add("site-1")
    refused = office.submit("site-1")
    await office.until(lambda: "no room" in office.table.find(refused).waits_for)
    asked: asyncio.Queue[None] = asyncio.Queue()
    order = office.order

    def watched(waiting: Sequence[WaitingJob]) -> list[str]:
        asked.put_nowait(None)
        return order(waiting)

    office.order = watched
    before = len(office.heard("site-1", Check))
    office.dispatcher.free_now("site-1", {"gpu": 1})
    async with asyncio.timeout(20):
        await asked.get()

    assert len(office.heard("site-1", Check)) == before


async def test_a_scheduler_that_names_a_job_that_does_not_wait_is_told_so(office: Office) -> None:
    office.order = lambda waiting: ["somebody's"]
    office.add("site-1")
    job_id = office.submit("site-1")

    await office.until(lambda: "SD-4272" in office.table.find(job_id).waits_for)


async def test_a_job_that_was_asked_about_just_before_room_came_is_not_overtaken(office: Office) -> None:
    """The first is refused, then a run ends and the second gets what the first is waiting for: it gives it back."""
    room = False

    def check(site: str, message: Message) -> None:
        run = cast("Check", message).run
        office.dispatcher.answered(site, Checked(run, "token") if room else Checked(run, "", "no room"))

    office.answers[Check] = check
    office.add("site-1")
    first = office.submit("site-1")
    await office.until(lambda: "no room" in office.table.find(first).waits_for)
    held = Held(office, Check, lambda site, run: run != first)
    second = office.submit("site-1")
    await office.until(lambda: bool(held.waiting))

    room = True
    office.dispatcher.synced("site-1", [], {})
    held.let_go()
    await office.until(lambda: len(office.started) == 2)

    assert [dispatched.job.id for dispatched in office.started] == [first, second]
    assert office.heard("site-1", Cancel) == [Cancel(second, "token")]
