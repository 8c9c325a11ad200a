"""A command is sent once, again after a lost connection, or refused with a word on what became of it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sundog.kernel.errors import AdminError, RemoteError
from sundog.kits.admin.connection import NotAdmitted, NotSent, OutcomeUnknown, SessionClosed
from sundog.kits.commands.declaration import AtServer, Command
from sundog.kits.commands.jobs import LIST_JOBS, SUBMIT_JOB, JobList, ListJobs, Nothing, SubmitJob
from sundog.kits.commands.registry import AnyCommand
from sundog.kits.protocol.answers import Files
from sundog.kits.protocol.requests import Request
from sundog.kits.server.commands import Commands
from sundog.kits.server.deliveries import Deliveries
from sundog.kits.workspace.job_state import Job
from sundog.transports.link import Link

from ...faults.proxy import Proxy
from .federation import Federation, federation


class ConnectionCut(AdminError):
    """The test cut it.

    Cause: the test.

    Cure: none.
    """


# --- idempotent submission ---


def test_the_same_request_is_the_same_job(clinic: Federation) -> None:
    """T035: one job, one run, whoever repeats it."""
    session, other = clinic.session(), clinic.session()
    name = clinic.job("hello")

    ids = [session.submit_job(name, request_id="token-1"), session.submit_job(name, request_id="token-1")]
    session.monitor_job(ids[0], timeout=20)
    ids.append(other.submit_job(name, request_id="token-1"))

    assert len(set(ids)) == 1
    assert [row.job_id for row in session.list_jobs().jobs] == ids[:1]


def test_the_same_request_at_the_same_time_is_one_job(clinic_tcp: Federation) -> None:
    """T035."""
    sessions = [clinic_tcp.session(), clinic_tcp.session()]
    name = clinic_tcp.job("hello", mandatory_clients=["site-9"])

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: sessions[number % 2].submit_job(name, request_id="token-1"), range(8)))

    assert len(set(ids)) == len(sessions[0].list_jobs().jobs) == 1


def test_a_submission_whose_answer_was_lost_is_repeated_and_gives_the_same_job(clinic: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """T035: the reply is dropped with the connection; the session asks again by itself, under the same id."""
    taken, submit = [], Deliveries.submit

    async def submit_and_lose(self: Deliveries, link: Link, request: str, name: str, files: Files) -> Job:
        job = await submit(self, link, request, name, files)
        taken.append((request, job.id))
        if len(taken) == 1:
            link.drop(ConnectionCut("the test cuts it"))
        return job

    monkeypatch.setattr(Deliveries, "submit", submit_and_lose)
    session = clinic.session()

    job_id = session.submit_job(clinic.job("hello", mandatory_clients=["site-9"]))

    assert taken[0] == taken[1] == (taken[0][0], job_id)
    assert len(session.list_jobs().jobs) == 1


def test_a_request_id_is_not_reused_for_other_files(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]), request_id="token-1")

    with pytest.raises(RemoteError, match="SD-6005"):
        session.submit_job(clinic_tcp.job("other", mandatory_clients=["site-8"]), request_id="token-1")


def test_a_command_that_is_under_way_is_not_begun_again(clinic: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks while the server works; the one answer comes over the next connection."""
    begun: list[str] = []
    again = asyncio.Event()
    answer = Commands.answer

    async def slow(here: AtServer, _asked: ListJobs) -> JobList:
        begun.append("list_jobs")
        here.link.drop(ConnectionCut("the test cuts it"))
        await again.wait()
        return JobList([])

    async def count(self: Commands, link: Link, message: Any, body: bytes) -> None:
        if begun:
            again.set()
        await answer(self, link, message, body)

    monkeypatch.setattr(Commands, "answer", count)
    table = dict(clinic.server.commands._table) | {"list_jobs": dataclasses.replace(LIST_JOBS, server=slow)}
    monkeypatch.setattr(clinic.server.commands, "_table", table)
    session = clinic.session()

    assert session.list_jobs() == JobList([])
    assert begun == ["list_jobs"]


# --- a download over a line that breaks ---


def test_a_download_goes_on_where_the_connection_broke(clinic_tcp: Federation) -> None:
    """T014: the bytes that came are not sent again, though the connection is cut three times."""
    size = 6_000_000
    proxy = Proxy("127.0.0.1", int(clinic_tcp.address.rpartition(":")[2]))
    clinic_tcp.loop.call(proxy.start())
    session = clinic_tcp.session(endpoint=f"tcp://127.0.0.1:{proxy.port}")
    name = clinic_tcp.job("hello", mandatory_clients=["site-9"], files={"app/custom/data.bin": bytes(range(250)) * (size // 250)})
    job_id = session.submit_job(name)
    session.abort_job(job_id)
    before, cuts = proxy.passed_bytes, [3_500_000, 2_000_000, 500_000]

    def cut_on_the_way(here: int, total: int) -> None:
        if cuts and here > total - cuts[0]:
            cuts.pop(0)
            clinic_tcp.loop.call(_cut(proxy))

    folder = Path(session.download_job(job_id, progress=cut_on_the_way).folder)

    assert (folder / "job/app/custom/data.bin").read_bytes() == bytes(range(250)) * (size // 250)
    assert proxy.cuts == 3
    assert proxy.passed_bytes - before < size * 2.5  # up to one window is lost with each connection
    clinic_tcp.loop.call(proxy.close())


async def _cut(proxy: Proxy) -> None:
    proxy.cut()


# --- what became of it ---


def test_without_a_server_nothing_is_sent(clinic_tcp: Federation) -> None:
    session, has_failed = clinic_tcp.session(endpoint="tcp://127.0.0.1:9"), threading.Event()
    session.connection.on_news = lambda _: has_failed.set()
    assert has_failed.wait(20)
    session._timeout = session.connection._away_seconds = 0.3

    with pytest.raises(NotSent, match=r"SD-6010.*list_jobs: no server lets this admin in at tcp://127.0.0.1:9: \[SD-2006\]"):
        session.list_jobs()
    waited = session.wait_until_server_status()
    assert waited.problem is not None
    assert waited.problem.code == "SD-6010"


def test_a_command_waits_for_a_server_that_is_about_to_start(tmp_path: Path) -> None:
    made = Federation(tmp_path, "inproc://later")
    made.address = "inproc://later"
    session = made.session()
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(session.list_jobs)
        made.start([])

        assert listed.result().jobs == []
    made.close()


def test_a_server_that_does_not_answer_leaves_the_outcome_open(clinic: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    session = clinic.session()
    session.list_jobs()
    monkeypatch.setattr(Commands, "answer", never)
    session._timeout = 0.3

    with pytest.raises(OutcomeUnknown, match="list_jobs: it was sent, but no answer came: the server is slow"):
        session.list_jobs()


def test_a_server_that_goes_away_is_waited_for_only_so_long(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session._timeout = session.connection._away_seconds = 0.3

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.wait_until_server_status, None, lambda _: False)
        for name in list(clinic_tcp.sites):
            clinic_tcp.stop_site(name)
        clinic_tcp.loop.call(clinic_tcp.server.close())

        problem = waiting.result().problem
    assert problem is not None
    assert problem.code in ("SD-6010", "SD-6011")
    with pytest.raises(NotSent):
        session.job_report(job_id)


def test_another_project_s_server_refuses_at_once(clinic: Federation) -> None:
    session = clinic.session(project="other", timeout=40)

    with pytest.raises(NotAdmitted, match=r"SD-6018.*SD-2103"):
        session.list_jobs()
    waited = session.wait_until_server_status(40)

    assert waited.problem is not None
    assert waited.problem.code == "SD-6018"


def test_the_server_s_own_code_comes_back(clinic: Federation) -> None:
    with pytest.raises(RemoteError, match="SD-4032") as caught:
        clinic.session().job_report("nonsense")

    assert caught.value.code == "SD-4032"
    assert caught.value.cure


def test_closing_ends_what_waits(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    seen = threading.Event()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.monitor_job, job_id, lambda _: seen.set())
        seen.wait(10)
        session.close()

        with pytest.raises(SessionClosed):
            waiting.result()
    with pytest.raises(SessionClosed):
        session.list_jobs()


# --- what a stranger's program might send ---


class Cups(Request, frozen=True, kw_only=True):
    """What no server knows."""

    cups: int = 1


def told(name: str, request: type[Request]) -> AnyCommand:
    return Command(name=name, request=request, answers=(Nothing,), right="view")


@pytest.mark.parametrize(
    ("command", "request_", "code"),
    [
        (told("make_coffee", Cups), Cups(), "SD-6001"),
        (told("list_jobs", Cups), Cups(), "SD-6004"),
        (SUBMIT_JOB, SubmitJob(request="../../x", name="hello", files=[]), "SD-6004"),
        (SUBMIT_JOB, SubmitJob(request="x", name="../hello", files=[]), "SD-5002"),
        (SUBMIT_JOB, SubmitJob(request="x", name="a/b", files=[]), "SD-5002"),
        (SUBMIT_JOB, SubmitJob(request="x", name="hello", files=[("../a", 1, "0" * 64, False)]), "SD-5002"),
        (SUBMIT_JOB, SubmitJob(request="x", name="hello", files=[]), "SD-4023"),
        (SUBMIT_JOB, SubmitJob(request="x", name="hello", files=[("a", 10**12, "0" * 64, False)]), "SD-4021"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_code(one_clinic: Federation, command: AnyCommand, request_: Request, code: str) -> None:
    with pytest.raises(RemoteError) as caught:
        one_clinic.sessions[0].call(command, request_)

    assert caught.value.code == code
    assert [path.name for path in one_clinic.server.workspace.jobs.iterdir()] == []


@pytest.fixture(scope="module")
def one_clinic(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with federation(tmp_path_factory.mktemp("clinic"), "tcp://127.0.0.1:0", []) as made:
        made.session()
        yield made
