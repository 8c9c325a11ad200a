"""The program around the site's reducer: what may a job process make it do, and does the run end whatever happens?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, Payload
from sundog.kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import Grew, Offer, SiteFailed, StartRun
from sundog.kits.site import run_events as ev
from sundog.kits.site.metrics_news import MetricsNews
from sundog.kits.site.outbox import Parts
from sundog.kits.site.run_program import SiteRunProgram, SiteServices
from sundog.kits.supervisor.job_process import JobProcesses
from sundog.kits.workspace.folders import RunFolder
from sundog.transports.link import Writer
from sundog.transports.link.link import Link

LARGE = bytes(70_000)
"""Too large for a message."""


class Server:
    """The link to it: up, and written down."""

    is_up = True

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.offered: dict[str, Path] = {}
        self.transfers = self

    def send(self, message: Message, *_body: bytes) -> None:
        self.heard.append(message)

    def offer(self, key: str, path: Path, _size: int) -> None:
        self.offered[key] = path

    def withdraw(self, key: str, path: Path) -> None:
        assert self.offered.pop(key, path) == path


class Never(Launcher):
    """A job process that is started for ever."""

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        await asyncio.Event().wait()
        raise AssertionError


class Made:
    """A run's program, with what the server hears of it."""

    def __init__(self, root: Path, writer: Writer) -> None:
        self.server = Server()
        self.folder = RunFolder(root / "run").create()
        self.ended: list[str] = []
        processes = JobProcesses(Never(), root / "channels")
        services = SiteServices(
            "site-1", writer, processes, lambda: cast("Link", self.server), lambda _: True, self.over, lambda _: None
        )  # fmt: skip
        self.program = SiteRunProgram(services, StartRun("r", "token", ["site-1"], 0), {}, self.folder, root / "outbox", {})

    async def over(self, run: str) -> None:
        self.ended.append(run)

    async def say(self, message: Message, *body: bytes) -> None:
        """As the job process does."""
        await self.program._on_job_message(message, memoryview(b"".join(body)))


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with Writer() as writer:
        made = Made(tmp_path, writer)
        yield made
        await made.program._tasks.close()


def state(made: Made) -> tuple[Any, ...]:
    """What the next task would begin with."""
    return made.program._states.of("t")


async def test_a_checkpoint_is_kept_for_the_task_in_hand(made: Made) -> None:
    made.program.run.working = "t"
    (made.folder.out / "c").write_bytes(LARGE)

    await made.program._keep_checkpoint(job.Checkpoint("t", Payload(0, "0" * 64, len(LARGE), "c")), b"")

    payload, _ = state(made)
    assert (made.folder.inbox / payload.name).read_bytes() == LARGE
    assert made.program._states.of("the next task") == (None, [])


@pytest.mark.parametrize("size", [3, len(LARGE)], ids=["small", "large"])
async def test_each_task_is_given_the_states_bytes_as_they_are_kept_now(made: Made, size: int) -> None:
    """And no link to an earlier one stays behind."""
    for number in range(3):
        data = bytes([number]) * size
        (made.folder.out / "s").write_bytes(data)
        payload = Payload(1, f"{number}" * 64, size, "" if size == 3 else "s")
        parts = Parts(state_meta=b"m", state_inline=data if size == 3 else None)
        await made.program._outbox.put(f"t{number}", None, Failure("SD-4090", "x"), payload, parts)
        for _ in range(2):
            given, (meta, *inline) = state(made)
            assert (meta, given.sha256) == (b"m", payload.sha256)
            assert (inline[0] if inline else (made.folder.inbox / given.name).read_bytes()) == data

    assert len(list(made.folder.inbox.iterdir())) == (size > 3)


@pytest.mark.parametrize(("task_id", "name"), [("t", "../secret"), ("t", "link"), ("../t", "c")], ids=["a path", "a link", "a task's path"])
async def test_a_job_gets_no_file_of_the_supervisors_by_a_checkpoint(made: Made, task_id: str, name: str) -> None:
    """PROTOCOL §4: what it hands over is a plain file of its own."""
    made.program.run.working = "t"
    secret = made.folder.root / "secret"
    secret.write_bytes(LARGE)
    (made.folder.out / "link").symlink_to(secret)
    (made.folder.out / "c").write_bytes(LARGE)

    await made.program._keep_checkpoint(job.Checkpoint(task_id, Payload(0, "0" * 64, len(LARGE), name)), b"")

    assert state(made) == (None, [])
    assert secret.read_bytes() == LARGE
    assert list(made.folder.inbox.iterdir()) == []


async def test_a_job_can_have_no_other_file_than_its_metrics_offered(made: Made) -> None:
    await made.say(Grew("r", "site-1", "../../startup/fed_client.json", 100))
    await made.say(Grew("r", "site-1", "metrics.jsonl", 7))

    assert made.server.offered == {"stream:r/metrics.jsonl": made.folder.metrics}
    assert made.server.heard == [Grew("r", "site-1", "metrics.jsonl", 7)]


async def test_a_job_process_without_a_place_to_hand_over_from_ends_the_run(made: Made) -> None:
    made.folder.out.rmdir()
    made.folder.out.write_text("in the way")

    made.program.begin()

    async with asyncio.timeout(20):
        await made.program.ended.wait()
    (said,) = made.server.heard
    assert isinstance(said, SiteFailed)
    assert said.failure.code == "SD-4102"
    assert "could not be started or served: " in said.failure.what
    assert made.ended == ["r"]


async def test_metrics_that_pour_in_are_told_of_as_the_server_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word goes at once; of the ten thousand that follow within the pause, one, with the last size."""
    told: list[int] = []
    monkeypatch.setattr("sundog.kits.site.metrics_news.TELL_SECONDS", 0.01)
    second = asyncio.Event()

    def tell(size: int) -> None:
        told.append(size)
        if len(told) > 1:
            second.set()

    news = MetricsNews(tell)

    for size in range(1, 10_001):
        news.grew(size)

    assert told == [1]
    async with asyncio.timeout(20):
        await second.wait()
    assert told == [1, 10_000]


async def test_metrics_are_told_of_before_a_result_and_again_over_the_next_connection(made: Made) -> None:
    """A result may end the run; and what was said while the link was down was heard by nobody."""
    for size in (7, 9):
        await made.say(Grew("r", "site-1", "metrics.jsonl", size))
    await made.program._outbox.put("t", None, Failure("SD-4090", "x"), None, Parts())

    made.program._perform([ev.MakeOffer("t")])
    made.program.link_up()

    sizes = [said.size if isinstance(said, Grew) else type(said) for said in made.server.heard]
    assert sizes == [7, 9, Offer, 9]


async def test_what_cannot_be_done_ends_this_sites_part_and_is_said(made: Made) -> None:
    """Here: the result vanished from the outbox."""
    kept = await made.program._outbox.put("t", Payload(1, "ab" * 32, 3), None, None, Parts(b"m", b"123"))
    assert kept.payload is not None
    made.program._outbox._inline.clear()
    made.program._outbox.result_path("t").unlink()

    made.program._perform([ev.MakeOffer("t"), ev.Report(Offer("r", "t", None))])

    failed, other = made.server.heard
    assert isinstance(failed, SiteFailed)
    assert "No such file" in failed.failure.what
    assert isinstance(other, Offer)
    assert made.program.run.is_ending


async def test_a_run_that_has_ended_offers_nothing(made: Made) -> None:
    await made.say(Grew("r", "site-1", "metrics.jsonl", 7))
    await made.program._outbox.put("t", Payload(1, "ab" * 32, 100_000), None, None, Parts(b"m", b"not read"))
    made.program.run.kept.append("t")
    made.program._perform([ev.MakeOffer("t")])
    assert len(made.server.offered) == 2

    await made.program._end()

    assert made.server.offered == {}


async def test_a_last_step_that_raises_keeps_neither_the_others_nor_the_end_back(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    async def close() -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(made.program._output, "close", close)

    await made.program._end()

    assert made.ended == ["r"]
    assert made.program.ended.is_set()
