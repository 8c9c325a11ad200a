"""The program around the reducer, when the world around it is not as it should be: the run ends all the same, and says why."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sundog.kernel.messages import MAX_HEADER_BYTES, Message, Payload, ScatterEnd, StepMetrics
from sundog.kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from sundog.kernel.transport import Connection, EndOfConnection, Frame
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import Offer
from sundog.kits.protocol.records import AnyRecord, Carried, OpenTask, ResultReceived, RunFinished, Status
from sundog.kits.server import run_events as ev
from sundog.kits.server.run_blobs import RunBlobs
from sundog.kits.server.run_program import JOB_MESSAGES_WAITING, ServerRunProgram
from sundog.kits.server.run_services import RunServices
from sundog.kits.server.run_state import RunState
from sundog.kits.server.server_run import ServerRun
from sundog.kits.supervisor.job_process import JobProcesses
from sundog.kits.workspace.blobs import BlobStore
from sundog.kits.workspace.folders import RunFolder
from sundog.kits.workspace.job_meta import JobMeta
from sundog.kits.workspace.journal import Journal, JournalFailed, read_journal
from sundog.transports.link import Writer

Told = TypeVar("Told", bound=Message)


class Silent(Launcher, JobHandle, Connection):
    """Starts one job, which hears everything and says nothing; it is its own handle and its own channel."""

    channel = "connection"

    def __init__(self) -> None:
        self.connection = self
        self.local, self.peer = "supervisor", "silent job"
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._left = asyncio.Event()

    async def next(self, kind: type[Told]) -> Told:
        """The next message of this kind that it hears."""
        async with asyncio.timeout(20):
            while not isinstance(message := await self._heard.get(), kind):
                continue
        return message

    def leave(self) -> None:
        self._left.set()

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        return self

    async def wait(self) -> str:
        await self._left.wait()
        return ""

    def signal(self, number: int) -> None: ...

    async def send(self, *parts: Frame) -> None:
        self._heard.put_nowait(job.job_codec.decode(b"".join(parts))[0])

    async def receive(self) -> Frame:
        await self._left.wait()
        raise EndOfConnection("it has left")

    async def close(self) -> None: ...

    def abort(self) -> None: ...


class Refusing(Launcher):
    async def launch(self, spec: LaunchSpec) -> JobHandle:
        raise OSError("too many open files")


class FullJournal(Journal):
    """Fails from the n-th record on."""

    room = 0

    def append(self, records: Sequence[AnyRecord], **more: Any) -> asyncio.Future[None]:
        self.room -= len(records)
        if self.room >= 0:
            return super().append(records, **more)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(JournalFailed("No space left on device", where=str(self.path)))
        return failed


class Made:
    """A run's program, and how it ended."""

    def __init__(self, root: Path, writer: Writer, launcher: Launcher, *, room: int | None = None) -> None:
        folder = RunFolder(root / "run").create()
        (root / "blobs").mkdir()
        self.finished: list[RunFinished] = []
        self.is_settled = asyncio.Event()
        self.is_settled.set()
        self.journal = FullJournal(root / "journal", writer)
        self.journal.room = 10**6 if room is None else room
        services = RunServices(
            writer, JobProcesses(launcher, root / "channels"), lambda _: None, self.over, self.settle, lambda _: None, lambda _: None, 0.05
        )
        run = ServerRun("r", ("site-1",), 1)
        blobs = RunBlobs(BlobStore(root / "blobs"), folder, writer)
        self.program = ServerRunProgram(services, run, JobMeta(name="j", deploy_map={}), folder, self.journal, blobs)

    async def settle(self, run: str) -> None:
        await self.is_settled.wait()

    async def over(self, run: str, finished: RunFinished) -> None:
        self.finished.append(finished)

    async def end(self) -> RunFinished:
        async with asyncio.timeout(20):
            await self.program.ended.wait()
        (finished,) = self.finished
        return finished


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    async with Writer() as writer:
        yield writer


async def test_a_job_process_that_cannot_be_started_ends_the_run(tmp_path: Path, writer: Writer) -> None:
    made = Made(tmp_path, writer, Refusing())

    made.program.begin()

    finished = await made.end()
    assert finished.status == Status.EXECUTION_EXCEPTION
    assert "too many open files" in finished.reason


async def test_a_job_process_without_a_place_to_hand_over_from_ends_the_run(tmp_path: Path, writer: Writer) -> None:
    made = Made(tmp_path, writer, Silent())
    made.program.folder.out.rmdir()
    made.program.folder.out.write_text("in the way")

    made.program.begin()

    finished = await made.end()
    assert finished.status == Status.EXECUTION_EXCEPTION
    assert "could not be started or served: " in finished.reason


@pytest.mark.parametrize("room", [0, 1], ids=["at the first record", "at the last"])
async def test_a_journal_that_fails_ends_the_run(tmp_path: Path, writer: Writer, room: int) -> None:
    made = Made(tmp_path, writer, Refusing(), room=room)

    made.program.begin()

    finished = await made.end()
    codes = {0: "SD-5006", 1: "SD-4101"}
    assert (finished.status, finished.failure.code if finished.failure else "") == (Status.EXECUTION_EXCEPTION, codes[room])


async def test_a_last_step_that_raises_keeps_neither_the_others_nor_the_end_back(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def finish(*_: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    made = Made(tmp_path, writer, Refusing())
    monkeypatch.setattr(made.program.blobs, "finish", finish)

    made.program.begin()

    finished = await made.end()
    assert finished.status == Status.EXECUTION_EXCEPTION


async def test_a_site_that_was_lost_before_the_run_began_counts_as_silent(tmp_path: Path, writer: Writer) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)

    made.program.begin()

    assert (await launcher.next(job.SiteGone)).site == "site-1"
    made.program.abort("enough")
    launcher.leave()
    assert (await made.end()).status == Status.ABORTED


METRICS = StepMetrics({}, {})
STATE = Payload(0, "ab" * 32, 10**6, "a file")
NONSENSE: dict[str, Message] = {
    "a payload that is not there": job.OpenStep("w", 0, "train", [("t", "site-1", 7, 1)], [Payload(0)], None, "all"),
    "a payload counted from the end": job.OpenStep("w", 0, "train", [("t", "site-1", -1, 1)], [Payload(0)], None, "all"),
    "a task twice": job.OpenStep("w", 0, "train", [("t", "site-1", 0, 1)] * 2, [Payload(0)], None, "all"),
    "a scatter without tasks": job.OpenStep("w", 0, "train", [], [], None, "all", [ScatterEnd([], [], [])]),
    "no state": job.CommitStep("w", 0, [], True, [], {}, METRICS),
    "a third state": job.CommitStep("w", 0, [STATE] * 3, True, [], {}, METRICS),
    "a second state of the components": job.CommitStep("w", 0, [STATE] * 2, False, [], {}, METRICS),
    "a state of nothing": job.CommitStep("w", 0, [Payload(0)], True, [], {}, METRICS),
    "a state at the end": job.EndWorkflow("w", [STATE] * 2, [], {}, METRICS),
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
async def test_what_makes_no_sense_ends_the_run_before_anything_is_recorded(tmp_path: Path, writer: Writer, said: Message) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)

    await made.program._on_message(said, memoryview(b""))

    await launcher.next(job.Abort)
    launcher.leave()
    finished = await made.end()
    assert (finished.status, finished.failure.code if finished.failure else "") == (Status.EXECUTION_EXCEPTION, "SD-4115")
    kept = RunState("r", ("site-1",), 1)
    for record in read_journal(made.journal.path).records:
        kept.apply(record)
    assert (kept.rounds, kept.committed, kept.ended_workflows) == ([], {}, [])
    assert made.program.run.rounds == []


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 0.0, -1.0])
async def test_a_deadline_that_is_no_time_ends_the_run(tmp_path: Path, writer: Writer, seconds: float) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)
    payload = Payload(1, "", 0)

    step = job.OpenStep("w", 0, "train", [("t", "site-1", 0, 0)], [payload], seconds, "all")
    await made.program._on_message(step, memoryview(b"m"))

    assert "deadline" in (await launcher.next(job.Abort)).reason
    launcher.leave()
    finished = await made.end()
    assert (finished.status, finished.failure.code if finished.failure else "") == (Status.EXECUTION_EXCEPTION, "SD-4171")


async def test_a_deadline_holds_for_a_result_that_is_offered_and_does_not_come(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    is_fetching = asyncio.Event()

    async def never(*_: object) -> None:
        is_fetching.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(made.program.blobs, "receive", never)
    made.program.begin()
    await launcher.next(job.Start)
    step = job.OpenStep("w", 0, "train", [("t", "site-1", 0, 1)], [Payload(0)], 0.2, "all")
    await made.program._on_message(step, memoryview(b""))
    await launcher.next(job.StepOpened)

    made.program.on_offer("site-1", Offer("r", "t", Payload(0, "ab" * 32, 10**6)), b"")
    async with asyncio.timeout(20):
        await is_fetching.wait()
    answer = await launcher.next(job.ResultFor)
    made.program.abort("enough")
    launcher.leave()
    await made.end()

    assert answer.failure is not None
    assert answer.failure.code == "SD-4106"


async def test_of_the_notes_of_a_commit_twenty_are_kept_and_long_ones_cut(tmp_path: Path, writer: Writer) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)
    notes = ["n" * 1000, *map(str, range(30))]

    commit = job.CommitStep("w", 0, [], False, [], {}, StepMetrics({}, {}), notes)
    await made.program._on_message(commit, memoryview(b""))
    await launcher.next(job.StepClosed)
    (row,) = made.program.run.rounds
    made.program.abort("enough")
    launcher.leave()
    await made.end()

    assert row.notes == ["n" * 500 + "…(+500)", *map(str, range(19))]


async def test_an_action_that_cannot_be_done_ends_the_run_and_the_others_are_done(tmp_path: Path, writer: Writer) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)
    lost = Payload(1, "ab" * 32, 3)  # said to be small, and in no file
    received = ResultReceived("", "t", "site-1", lost, b"m", None, 0.0)

    made.program._perform([ev.Tell(job.ResultFor("t", "site-1", lost), received), ev.Tell(job.SiteBack("site-1"))])

    await launcher.next(job.SiteBack)
    assert (await launcher.next(job.Abort)).reason
    launcher.leave()
    assert (await made.end()).status == Status.EXECUTION_EXCEPTION


async def test_what_is_too_large_for_the_job_process_ends_the_run_and_not_the_server(tmp_path: Path, writer: Writer) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)

    made.program._perform([ev.Tell(job.Kept("x" * MAX_HEADER_BYTES)), ev.Tell(job.SiteBack("site-1"))])

    await launcher.next(job.SiteBack)
    launcher.leave()
    finished = await made.end()
    assert (finished.status, finished.failure.code if finished.failure else "") == (Status.EXECUTION_EXCEPTION, "SD-2004")


async def test_a_jobs_long_reason_is_cut(tmp_path: Path, writer: Writer) -> None:
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)
    made.program.feed(ev.StepAsked("w", 0, "all", (OpenTask("t", "site-1", "train", 0, 7, None),), (Carried(Payload(0), b""),), 0.0))

    await made.program._on_message(job.Reject("t", "x" * 10_000), memoryview(b""))
    await made.program._on_message(job.Finish(aborted="x" * 10_000), memoryview(b""))

    await launcher.next(job.Finished)
    launcher.leave()
    short = "x" * 8000 + "…(+2000)"
    assert (await made.end()).reason == short
    assert made.program.run.tasks["t"].rejected == short


async def test_a_job_process_that_says_more_than_can_be_done_has_to_wait(tmp_path: Path, writer: Writer) -> None:
    """What it says is not piled up in the server's memory; and its end is still seen behind all that it said."""
    launcher = Silent()
    made = Made(tmp_path, writer, launcher)
    made.program.begin()
    await launcher.next(job.Start)
    made.is_settled.clear()

    saying = [asyncio.create_task(made.program._on_message(job.Finish(), memoryview(b""))) for _ in range(100)]
    for _ in range(100):
        await asyncio.sleep(0)  # turns of the loop
    waiting = [one for one in saying if not one.done()]
    made.is_settled.set()
    launcher.leave()

    assert len(waiting) == 100 - JOB_MESSAGES_WAITING - 1  # one is in hand
    assert (await made.end()).status == Status.COMPLETED
